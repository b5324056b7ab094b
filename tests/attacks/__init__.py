"""Attacks, each named by its row of the table in docs/security.md, over bare sockets where a client is too polite."""
