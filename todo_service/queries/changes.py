"""The changes of a user's tasks since a version, for delta sync: `tasks` that were written, and the deletions
in `task_changes`.

A change raises the clock and is committed with it, and the next change waits for that commit. A reader of the clock at
some version therefore sees every change up to it and none above it: a position in that order misses nothing.
"""

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from todo_service.postgres.connection import Connection
from todo_service.queries.task_rows import TASK_COLUMNS, TaskRow

_DELETION_COLUMNS = ", ".join({"id": "task_id", "version": "version"}.get(name, "NULL") for name in TASK_COLUMNS)
_STATUS, _ID, _VERSION = map(TASK_COLUMNS.index, ("status", "id", "version"))


class Change(NamedTuple):
    """The last change of a task: `task` as it is now, or None if it was deleted."""

    version: int
    id: UUID
    task: TaskRow | None


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in the order of their versions, and the clock at the same moment; deletions up to `sync_floor` may be
    purged.
    """

    epoch: int
    version: int
    sync_floor: int
    changes: list[Change]
    has_more: bool


# Without changes the clock's row is all that is read: both branches check the clock first.
SELECT_PAGE = f"""
SELECT clock.epoch, clock.version, clock.sync_floor, {TASK_COLUMNS.of("change")}
FROM task_clocks AS clock
LEFT JOIN LATERAL (
    (
        SELECT {TASK_COLUMNS} FROM tasks
        WHERE clock.version > $2::bigint AND user_id = $1 AND version > $2
        ORDER BY version LIMIT $4::bigint
    ) UNION ALL (
        SELECT {_DELETION_COLUMNS} FROM task_changes
        WHERE clock.version > $2 AND user_id = $1 AND deletes
            AND version > greatest($2, coalesce($3::bigint, clock.version))
        ORDER BY version LIMIT $4
    )
    ORDER BY version LIMIT $4
) AS change ON true
WHERE clock.user_id = $1
ORDER BY change.version"""


async def select_page(
    db: Connection, *, owner_id: str, position: int, deletions_since: int | None, limit: int
) -> ChangePage | None:
    """Return the first `limit` changes above version `position`, or None if this user has no clock.

    Args:
        deletions_since: Deletions must be above this version too; None leaves out all deletions.
    """
    rows = await db.fetch(SELECT_PAGE, owner_id, position, deletions_since, limit + 1)
    if not rows:
        return None
    epoch, version, sync_floor, *first = rows[0]
    changes = [_change(row) for row in rows[:limit]] if first[_ID] else []
    return ChangePage(epoch, version, sync_floor, changes, has_more=len(rows) > limit)


def _change(row: Record) -> Change:
    columns = row[3:]
    task = TaskRow(*columns) if columns[_STATUS] else None
    return Change(columns[_VERSION], columns[_ID], task)
