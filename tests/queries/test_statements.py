"""All statements, walked: each PREPAREs against the migrated schema, each list uses an index."""

import re

import pytest

from todo_service import errors
from todo_service.postgres.connection import Connection
from todo_service.queries import statement_names

NAMES = statement_names()


@pytest.mark.parametrize("sql", NAMES, ids=NAMES.values())
async def test_every_statement_prepares(db: Connection, sql: str) -> None:
    assert await db.execute(f"PREPARE statement AS {sql}") == "PREPARE"


def test_no_statement_takes_all_columns() -> None:
    for sql in NAMES:
        assert not re.search(r"(SELECT|RETURNING)\s+(\w+\.)?\*", sql)
        about_the_server = "pg_class" in sql or "_setting(" in sql or "set_config(" in sql
        of_users = "users" in sql or "user_id" in sql or "audit_log" in sql or "token_hash" in sql or '"userId"' in sql
        assert about_the_server or of_users


def test_statements_have_distinct_names() -> None:
    assert len(set(NAMES.values())) == len(NAMES) > 8


async def test_every_mapped_constraint_exists(db: Connection) -> None:
    for name in errors.CONSTRAINTS:
        assert await db.fetchval("SELECT count(*) FROM pg_constraint WHERE conname = $1", name) == 1
