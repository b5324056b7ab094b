"""Row-level security: PostgreSQL itself shows a role that owns no table only the rows of the users of the request.

It is a second lock: each statement names its owner anyway, and one that forgot to would find nothing of others. The
users are told by a session variable before the first statement of a request, which costs a round trip; so it is off
unless ROW_LEVEL_SECURITY is on. It needs sessions, hence no transaction pooler.
"""

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from todo_service.postgres.connection import UNNAMED, Connection

if TYPE_CHECKING:
    from todo_service.postgres.connection import TimedConnection

Owners = frozenset[str] | None  # the users whose rows a request may see; None for all, of an administrator

NO_OWNERS: Owners = frozenset()
TABLES = ("idempotency_keys", "task_changes", "task_clocks", "tasks", "user_api_keys")
POLICY = "todo_owner"
_VISIBLE = (
    "(SELECT current_setting('todo.every_owner', true)) = 'on' "
    "OR (SELECT nullif(current_setting('todo.owners', true), '')::jsonb) ? user_id"
)
NARROW = "SELECT set_config('todo.owners', $1, false), set_config('todo.every_owner', $2, false)"
SELECT_IN_FORCE = """
SELECT bool_and(row_security_active(name)) AS of_all, bool_or(row_security_active(name)) AS of_some
FROM unnest($1::text[]) AS name"""
STATEMENT_NAMES = {NARROW: "row_security.narrow", SELECT_IN_FORCE: "row_security.select_in_force"}


async def narrow(db: "TimedConnection", owners: Owners) -> None:
    """Let a connection see the rows of these users alone."""
    names = json.dumps(sorted(owners)) if owners is not None else "[]"
    db.owners = UNNAMED
    await db.execute(NARROW, names, "on" if owners is None else "off")
    db.owners = owners


async def is_as_set(db: Connection, *, is_on: bool) -> bool:
    """Return whether the role of this connection is subject to it in every table, or in none if it is off.

    The owner of the tables and a superuser are not subject to it.
    """
    row = await db.fetchrow(SELECT_IN_FORCE, TABLES)
    assert row is not None
    return row["of_all"] is True if is_on else row["of_some"] is False


SELECT_IS_ON = "SELECT relrowsecurity FROM pg_class WHERE oid = to_regclass('tasks')"


async def is_on(db: Connection) -> bool:
    """Return whether it is on for the tables, whatever role this connection has."""
    return await db.fetchval(SELECT_IS_ON) is True


async def switch(db: Any, *, on: bool, tables: Collection[str] = TABLES) -> None:
    """Turn it on or off for every role but the owner of the tables, in one transaction."""
    async with db.transaction():
        for table in tables:
            await db.execute(f"DROP POLICY IF EXISTS {POLICY} ON {table}")
            await db.execute(f"ALTER TABLE {table} {'ENABLE' if on else 'DISABLE'} ROW LEVEL SECURITY")
            if on:
                await db.execute(f"CREATE POLICY {POLICY} ON {table} USING ({_VISIBLE})")
