"""Faults on purpose: each experiment breaks something and counts what was lost. `bin/chaos --list` names them."""
