"""Benchmarks: programs, never timed tests. Each prints its figures side by side and exits 0 only if they hold."""
