"""`task_changes`: a row for each change of a task, written by the statement that makes the change.

A row has the task as it was before. Its key is the version that the change gave to the task, and `previous` the version
before it, so the rows of one task are a chain and need no index of their own. Delta sync needs the deletions, which
stay when the rest is not kept.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from todo_service.postgres.connection import Connection
from todo_service.queries.task_rows import TASK_COLUMNS, TaskRow


class Origin(NamedTuple):
    """The origin of a change: its author (None for the owner), the credential, the request."""

    actor_id: str | None
    source: str
    request_id: str


NO_ORIGIN = (None, None, None)  # of a change that is not kept
ORIGIN_PARAMETERS = ("by_actor", "by_source", "by_request")
CONTENT = (
    "title", "description", "status", "priority", "due_at", "due_on", "tags", "created_at", "updated_at",
    "completed_at",
)  # fmt: skip
_KEY = "user_id, version, task_id, changed_at, operation, deletes, actor_id, source, request_id, previous"
change_columns = f"{_KEY}, {', '.join(CONTENT)}"


def content_of(alias: str) -> str:
    """Return the columns of a task as it was, for `change_columns`."""
    return ", ".join(f"{alias}.{name}" for name in CONTENT)


class ChangeRow(NamedTuple):
    """One change of a task, with the task as it was before; None if it was not there, or is forgotten."""

    version: int
    task_id: UUID
    changed_at: datetime
    operation: str
    actor_id: str | None
    source: str | None
    request_id: str | None
    before: TaskRow | None


_STORED = change_columns.split(", ")
_ACTOR = "coalesce(actor_id, CASE WHEN source IS NOT NULL THEN user_id END)"
_FACTS = ("version", "task_id", "changed_at", "operation", _ACTOR, "source", "request_id")
_COLUMNS = ", ".join([*_FACTS, *({"id": "task_id", "version": "previous"}.get(name, name) for name in TASK_COLUMNS)])
_TITLE = len(_FACTS) + TASK_COLUMNS.index("title")
_KEPT = "changed_at > statement_timestamp() - $2 * interval '1 day'"

# The first row is that of the task's last change or, if it is gone, of its deletion; the next one is its `previous`.
SELECT_HISTORY = f"""
WITH RECURSIVE chain AS (
    SELECT {change_columns} FROM task_changes
    WHERE user_id = $1 AND task_id = $3 AND version = coalesce(
        $4::bigint,
        (SELECT version FROM tasks WHERE user_id = $1 AND id = $3),
        (SELECT max(version) FROM task_changes WHERE user_id = $1 AND task_id = $3 AND deletes)
    )
    UNION ALL
    SELECT {", ".join(f"change.{name}" for name in _STORED)}
    FROM chain, task_changes AS change WHERE change.user_id = $1 AND change.version = chain.previous
)
SELECT {_COLUMNS} FROM chain WHERE {_KEPT} LIMIT $5::bigint"""


async def select_history(
    db: Connection, *, owner_id: str, task_id: UUID, days: int, start: int | None, limit: int
) -> list[ChangeRow]:
    """Return the changes of a task in the last `days`, newest first, beginning with version `start` or the last."""
    return [_change(row) for row in await db.fetch(SELECT_HISTORY, owner_id, days, task_id, start, limit)]


SELECT_TRASH = f"""
SELECT {_COLUMNS} FROM task_changes AS change
WHERE user_id = $1 AND deletes AND title IS NOT NULL AND {_KEPT} AND version < coalesce($3::bigint, 9223372036854775807)
    AND NOT EXISTS (SELECT FROM tasks WHERE tasks.user_id = $1 AND tasks.id = change.task_id)
    AND NOT EXISTS (
        SELECT FROM task_changes AS later
        WHERE later.user_id = $1 AND later.task_id = change.task_id AND later.deletes AND later.version > change.version
    )
ORDER BY version DESC LIMIT $4::bigint"""


async def select_trash(db: Connection, *, owner_id: str, days: int, before: int | None, limit: int) -> list[ChangeRow]:
    """Return the last deletions of tasks that are gone, newest first, of versions below `before`."""
    return [_change(row) for row in await db.fetch(SELECT_TRASH, owner_id, days, before, limit)]


SELECT_DELETION = f"""
SELECT version FROM task_changes
WHERE user_id = $1 AND task_id = $3 AND deletes AND title IS NOT NULL AND {_KEPT} ORDER BY version DESC LIMIT 1"""


async def select_deletion(db: Connection, *, owner_id: str, task_id: UUID, days: int) -> int | None:
    """Return the version of the last deletion of a task that can be restored."""
    version: int | None = await db.fetchval(SELECT_DELETION, owner_id, days, task_id)
    return version


# The clock is locked, so that no change of another transaction is left.
LOCK_CLOCK = "SELECT version FROM task_clocks WHERE user_id = $1 FOR UPDATE"
FORGET_CHANGES = "DELETE FROM task_changes WHERE user_id = $1 AND NOT deletes"
forgotten_content = ", ".join(f"{name} = NULL" for name in ("actor_id", "source", "request_id", "previous", *CONTENT))
FORGET_DELETIONS = f"UPDATE task_changes SET {forgotten_content} WHERE user_id = $1 AND deletes AND title IS NOT NULL"


async def forget(db: Connection, *, owner_id: str) -> None:
    """Forget the past of all tasks, but that tasks were deleted. Needs a transaction."""
    await db.execute(LOCK_CLOCK, owner_id)
    await db.execute(FORGET_CHANGES, owner_id)
    await db.execute(FORGET_DELETIONS, owner_id)


_OLD = "version <= (SELECT version FROM task_clocks WHERE user_id = $1) - $2::bigint"
TRIM_CHANGES = f"DELETE FROM task_changes WHERE user_id = $1 AND NOT deletes AND {_OLD}"
TRIM_DELETIONS = f"""
UPDATE task_changes SET {forgotten_content} WHERE user_id = $1 AND deletes AND title IS NOT NULL AND {_OLD}"""


async def trim(db: Connection, *, owner_id: str, keep: int) -> None:
    """Forget a user's changes but the last `keep`, and that tasks were deleted. Needs a transaction."""
    for statement in (TRIM_CHANGES, TRIM_DELETIONS):
        await db.execute(statement, owner_id, keep)


def _change(row: Record) -> ChangeRow:
    before = TaskRow(*row[len(_FACTS) :]) if row[_TITLE] is not None else None
    return ChangeRow._make([*row[: len(_FACTS)], before])
