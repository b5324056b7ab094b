"""Authentication and authorization: credentials, tokens, sessions, passwords, accounts."""
