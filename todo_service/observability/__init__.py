"""Logs, metrics and the event-loop monitor."""
