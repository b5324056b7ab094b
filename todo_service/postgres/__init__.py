"""The pool, the connector, the migrations and PostgreSQL's own programs."""
