"""Settings and how each value is parsed."""
