"""All statements, walked: each PREPAREs against the migrated schema, each list uses an index."""

import re

import pytest

from todo_service import errors
from todo_service.connect import Connection
from todo_service.queries import statement_names

NAMES = statement_names()


@pytest.mark.parametrize("sql", NAMES, ids=NAMES.values())
async def test_every_statement_prepares(db: Connection, sql: str) -> None:
    assert await db.execute(f"PREPARE statement AS {sql}") == "PREPARE"


def test_no_statement_takes_all_columns() -> None:
    for sql in NAMES:
        assert not re.search(r"(SELECT|RETURNING)\s+(\w+\.)?\*", sql)
        assert "users" in sql or "user_id" in sql or "audit_log" in sql or "token_hash" in sql or '"userId"' in sql


def test_statements_have_distinct_names() -> None:
    assert len(set(NAMES.values())) == len(NAMES) > 8


async def test_every_mapped_constraint_exists(db: Connection) -> None:
    for name in errors.CONSTRAINTS:
        assert await db.fetchval("SELECT count(*) FROM pg_constraint WHERE conname = $1", name) == 1


async def test_the_list_never_reads_other_users_tasks(db: Connection) -> None:
    """With 100,000 tasks of 1,000 users the plan goes through the index, and through no sequential scan."""
    await db.execute("INSERT INTO users (id) SELECT 'user ' || n FROM generate_series(1, 1000) AS n")
    await db.execute(
        "INSERT INTO task_clocks (user_id, version, task_count) SELECT id, 100, 100 FROM users WHERE id LIKE 'user %'"
    )
    await db.execute("""
        INSERT INTO tasks (user_id, id, title, status, priority, tags, created_at, updated_at, version)
        SELECT 'user ' || 1 + n % 1000, gen_random_uuid(), 'task', 'TODO', 'LOW', '{}',
            now() - n * interval '1 s', now(), n / 1000
        FROM generate_series(1, 100000) AS n""")
    await db.execute("ANALYZE tasks")
    await db.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    sql = next(sql for sql, name in NAMES.items() if name == "task_lists.select_page")
    await db.execute(f"PREPARE page AS {sql}")
    plan = "\n".join(row[0] for row in await db.fetch("EXPLAIN ANALYZE EXECUTE page('user 7', 20, 0)"))
    assert "tasks_user_created" in plan
    assert "Seq Scan" not in plan
    assert max(float(rows) for rows in re.findall(r"actual .*rows=([\d.]+)", plan)) == 20
