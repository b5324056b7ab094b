"""All statements, walked: each PREPAREs against the migrated schema, each list uses an index."""

import re

import pytest

from todo_service import errors
from todo_service.postgres import migrations
from todo_service.postgres.connection import Connection
from todo_service.queries import statement_names

NAMES = statement_names()


@pytest.mark.parametrize("sql", NAMES, ids=NAMES.values())
async def test_every_statement_prepares(db: Connection, sql: str) -> None:
    assert await db.execute(f"PREPARE statement AS {sql}") == "PREPARE"


TABLES = migrations.tables(migrations.find())


def test_no_statement_takes_all_columns() -> None:
    for sql in NAMES:
        assert not re.search(r"(SELECT|RETURNING)\s+(\w+\.)?\*", sql)
        about_the_server = "pg_class" in sql or "_setting(" in sql or "set_config(" in sql or "advisory" in sql
        assert about_the_server or any(table in sql for table in TABLES)


def test_statements_have_distinct_names() -> None:
    assert len(set(NAMES.values())) == len(NAMES) > 8


async def test_every_mapped_constraint_exists(db: Connection) -> None:
    for name in errors.CONSTRAINTS:
        assert await db.fetchval("SELECT count(*) FROM pg_constraint WHERE conname = $1", name) == 1
