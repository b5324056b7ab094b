"""Lists of tasks: pages in the order and with the filters that were asked for."""

from dataclasses import dataclass, fields

from todo_service.connect import Connection
from todo_service.queries.tasks import TaskRow

_COLUMNS = ", ".join(column.name for column in fields(TaskRow))
_PAGE_COLUMNS = ", ".join(f"page.{column.name}" for column in fields(TaskRow))


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a user's tasks, how many there are in all, and the user's version it was read at."""

    tasks: list[TaskRow]
    total: int
    version: int


SELECT_PAGE = f"""
SELECT clock.task_count, clock.version, {_PAGE_COLUMNS}
FROM task_clocks AS clock
LEFT JOIN LATERAL (
    SELECT {_COLUMNS} FROM tasks
    WHERE user_id = $1
    ORDER BY created_at DESC, id DESC
    LIMIT $2::bigint OFFSET $3::bigint
) AS page ON true
WHERE clock.user_id = $1
ORDER BY page.created_at DESC, page.id DESC"""


async def select_page(db: Connection, *, owner_id: str, skip: int, limit: int | None) -> Page:
    """`limit` tasks (None: all) after the first `skip`, newest first; page, total and version are of one moment."""
    rows = await db.fetch(SELECT_PAGE, owner_id, limit, skip)
    if not rows:
        return Page([], total=0, version=0)
    total, version, first_id = rows[0][:3]
    return Page([TaskRow(*row[2:]) for row in rows] if first_id else [], total, version)


SELECT_PAGE_ANY_OWNER = f"""
SELECT total.task_count, {_PAGE_COLUMNS}
FROM (
    SELECT coalesce(sum(task_count), 0)::bigint AS task_count FROM task_clocks WHERE $1::text IS NULL OR user_id = $1
) AS total
LEFT JOIN LATERAL (
    SELECT {_COLUMNS} FROM tasks
    WHERE $1::text IS NULL OR user_id = $1
    ORDER BY created_at DESC, user_id DESC, id DESC
    LIMIT $2::bigint OFFSET $3::bigint
) AS page ON true
ORDER BY page.created_at DESC, page.user_id DESC, page.id DESC"""


async def select_page_any_owner(db: Connection, *, user_id: str | None, skip: int, limit: int | None) -> Page:
    """The same over everybody's tasks, or one user's, for administrators; it has no version."""
    rows = await db.fetch(SELECT_PAGE_ANY_OWNER, user_id, limit, skip)
    total, first_id = rows[0][:2]
    return Page([TaskRow(*row[1:]) for row in rows] if first_id else [], total, version=0)
