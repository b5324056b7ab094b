"""The statements as Citus takes them, by their syntax trees; which rules it has was found by running them on one.

A statement that breaks a rule has a second form for servers that the tables are spread over, or it is one that the
coordinator carries out in several steps, which is dear and therefore rare.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from pglast import ast as syntax
from pglast import parse_sql

from todo_service.postgres import distribution, migrations
from todo_service.postgres.connection import Connection
from todo_service.queries import statement_names

ast: Any = syntax  # any field of any node may be None in its annotations
NAMES = {name: sql for sql, name in statement_names().items()}
WITH_SECOND_FORM = {
    "clocks.select_stamps", "external_sessions.select_user", "idempotency_keys.claim",
    "idempotency_keys.delete_expired", "refresh_tokens.delete_expired", "refresh_tokens.rotate",
    "one_time_tokens.delete_expired", "personal_tokens.delete_expired",
    "revocations.delete_expired", "tasks.delete", "tasks.delete_audited", "tasks.insert", "tasks.select",
    "tasks.update", "tasks.update_audited", "expired_changes.delete_expired", "expired_changes.delete_past",
}  # fmt: skip
BY_SEVERAL_STEPS = {"transfers.merge", "undo.apply", "user_api_keys.select_audited"}
OF_ONE_SHARD = [
    "account_emails.delete", "account_emails.insert", "account_emails.select", "changes.select_page",
    "clocks.lock", "clocks.select_stamp", "clocks.select_version", "idempotency_keys.claim_row",
    "idempotency_keys.lock_user", "idempotency_keys.release", "idempotency_keys.store",
    "one_time_tokens.count", "one_time_tokens.delete", "one_time_tokens.delete_of_user", "one_time_tokens.insert",
    "users.update_email_verified", "users.select_email_key", "users.update_email",
    "personal_tokens.count", "personal_tokens.delete", "personal_tokens.delete_of_user",
    "personal_tokens.insert", "personal_tokens.select_all",
    "personal_tokens.update_used",
    "refresh_tokens.delete_family", "refresh_tokens.delete_others", "refresh_tokens.insert",
    "revocations.insert_ended", "refresh_tokens.insert_successor", "refresh_tokens.lock_generation",
    "refresh_tokens.lock_active", "refresh_tokens.select_current_family", "refresh_tokens.select_family",
    "refresh_tokens.select_sessions", "refresh_tokens.select_successor", "refresh_tokens.update_used",
    *(name for name in NAMES if name.startswith("task_lists.")),
    *(name for name in NAMES if name.startswith("task_steps.")), "tasks.select_one",
    "transfers.select_page",
    "task_changes.select_deletion", "task_changes.select_history", "task_changes.select_trash",
    "user_api_keys.delete", "user_api_keys.select", "user_api_keys.upsert",
    "users.delete", "users.delete_any", "users.insert", "users.insert_clock", "users.insert_newcomer", "users.lock",
    "users.raise_generation", "users.select", "users.select_standing", "users.update", "users.update_password",
]  # fmt: skip
VOLATILE = {"clock_timestamp", "gen_random_uuid", "nextval", "random"}
MOMENTS = VOLATILE | {"now", "statement_timestamp"}


def nodes(root: object) -> Iterator[Any]:
    """A node and all below it."""
    if isinstance(root, ast.Node):
        yield root
        for field in root:
            yield from nodes(getattr(root, field))
    elif isinstance(root, tuple):
        for one in root:
            yield from nodes(one)


def calls(root: object) -> set[str]:
    return {node.funcname[-1].sval for node in nodes(root) if isinstance(node, ast.FuncCall)}


def columns_set(statement: Any) -> tuple[Any, ...]:
    """The assignments of an UPDATE, or of an INSERT that meets a row."""
    if isinstance(statement, ast.UpdateStmt):
        return tuple(statement.targetList)
    conflict = getattr(statement, "onConflictClause", None)
    return tuple((conflict and conflict.targetList) or ())


def is_by_user(statement: Any) -> bool:
    """Whether the statement is about one value of a column that a table is spread by: the value is a parameter."""
    if isinstance(statement, ast.InsertStmt):
        names = [column.name for column in statement.cols]
        values = statement.selectStmt.valuesLists
        found = dict(zip(names, values[0], strict=True)) if values else {}
        column = distribution.COLUMNS[statement.relation.relname]
        return column is None or isinstance(found.get(column), ast.ParamRef)
    return any(
        isinstance(node, ast.A_Expr)
        and node.name[-1].sval == "="
        and isinstance(node.lexpr, ast.ColumnRef)
        and isinstance(node.rexpr, ast.ParamRef)
        and node.lexpr.fields[-1].sval in set(distribution.COLUMNS.values())
        for node in nodes(statement.whereClause)
    )


def tables(statement: Any) -> set[str]:
    """The spread tables that a statement itself reads or changes, without those of its CTEs."""
    parts = [statement.relation] if hasattr(statement, "relation") else []
    parts += [*(statement.fromClause or ())] if hasattr(statement, "fromClause") else []
    named = {node.relname for node in nodes(tuple(parts)) if isinstance(node, ast.RangeVar)}
    return named & set(distribution.COLUMNS)


def broken_rules(sql: str) -> set[str]:
    """What Citus does not take of a statement, or takes in several steps."""
    broken: set[str] = set()
    root: Any = parse_sql(sql)[0].stmt
    for node in nodes(root):
        if isinstance(node, ast.UpdateStmt | ast.DeleteStmt) and calls(node) & VOLATILE:
            broken.add("a volatile function in a change")
        if isinstance(node, ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt):
            if calls(node.returningClause) & MOMENTS:
                broken.add("a moment in RETURNING")
            if any(isinstance(one, ast.SetToDefault) for one in nodes(columns_set(node))):
                broken.add("DEFAULT in a change")
            choices = tuple(one for one in nodes(columns_set(node)) if isinstance(one, ast.CaseExpr | ast.CoalesceExpr))
            if calls(choices) & MOMENTS or (isinstance(node, ast.InsertStmt) and calls(columns_set(node)) & MOMENTS):
                broken.add("a moment in a choice of a change")
        if isinstance(node, ast.InsertStmt) and tables(node) and (node is not root or not node.selectStmt.valuesLists):
            broken.add("INSERT of what was selected, or in a CTE")
        if isinstance(node, ast.SelectStmt):
            if node.lockingClause and tables(node) and not is_by_user(node):
                broken.add("a lock over all shards")
            selects = (one.subquery for one in node.fromClause or () if isinstance(one, ast.RangeSubselect))
            exists = (one.subselect for one in nodes(node.whereClause) if isinstance(one, ast.SubLink))
            wide = (select for select in exists if tables(select) and not is_by_user(select))
            if any(not select.targetList for select in (*selects, *wide)):
                broken.add("a sub-select without columns")
    return broken


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_keeps_the_rules_or_has_a_second_form(name: str) -> None:
    broken = broken_rules(NAMES[name])
    if name in WITH_SECOND_FORM - {"clocks.select_stamps", "external_sessions.select_user", "tasks.select"}:
        assert broken, "the second form is not needed"
    elif name in BY_SEVERAL_STEPS:
        assert broken == {"INSERT of what was selected, or in a CTE"}
    elif name not in WITH_SECOND_FORM:
        assert not broken


@pytest.mark.parametrize("name", OF_ONE_SHARD)
def test_what_requests_run_goes_to_one_shard(name: str) -> None:
    for node in nodes(parse_sql(NAMES[name])[0].stmt):
        if isinstance(node, ast.SelectStmt | ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt) and tables(node):
            assert is_by_user(node), node


def test_the_rules_find_what_breaks_them() -> None:
    for sql in (
        "UPDATE tasks SET updated_at = clock_timestamp() WHERE user_id = $1",
        "UPDATE task_clocks SET version = 1 WHERE user_id = $1 RETURNING now()",
        "UPDATE task_clocks SET epoch = DEFAULT WHERE user_id = $1",
        "UPDATE users SET updated_at = CASE WHEN true THEN now() END WHERE id = $1",
        "INSERT INTO users (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET updated_at = now()",
        "INSERT INTO users (id) SELECT $1",
        "WITH new AS (INSERT INTO users (id) VALUES ($1) RETURNING id) SELECT id FROM new",
        "SELECT id FROM users WHERE id > $1 FOR UPDATE",
        "SELECT count(*) FROM (SELECT FROM users) AS these",
        "SELECT 1 WHERE EXISTS (SELECT FROM users WHERE role = 'admin')",
    ):
        assert broken_rules(sql), sql
    for sql in ("SELECT id FROM users WHERE email = $1", "INSERT INTO tasks (id, title) VALUES ($1, $2)"):
        assert not is_by_user(parse_sql(sql)[0].stmt), sql


def test_every_table_is_spread_or_stays_on_the_coordinator() -> None:
    stay = {"schema_migrations", "token_epochs", "user_sessions"}
    assert set(migrations.tables(migrations.find())) == set(distribution.COLUMNS) | stay


async def test_every_key_of_a_spread_table_has_the_column_that_it_is_spread_by(db: Connection) -> None:
    """No server sees the rows of the others, so nothing else can be unique."""
    rows = await db.fetch(
        """SELECT class.relname AS name, conname, array_agg(attname) AS columns
        FROM pg_constraint JOIN pg_class AS class ON class.oid = conrelid
        JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
        WHERE contype IN ('p', 'u') AND class.relname = ANY ($1) GROUP BY class.relname, conname""",
        [name for name, column in distribution.COLUMNS.items() if column],
    )
    without = {row["conname"] for row in rows if distribution.COLUMNS[row["name"]] not in row["columns"]}
    assert without == set(distribution.UNIQUE.values())


async def test_foreign_keys_are_within_the_group_of_users(db: Connection) -> None:
    for key in await db.fetch(distribution.SELECT_FOREIGN_KEYS, list(distribution.COLUMNS)):
        assert distribution.OWN_GROUP.isdisjoint({key["name"], key["target"]})
        assert f"FOREIGN KEY ({distribution.COLUMNS[key['name']]})" in key["text"]
        assert f"REFERENCES {key['target']}({distribution.COLUMNS[key['target']]})" in key["text"]
