"""`tasks`: every statement names the owner, and every change raises the owner's change counter in the same statement.

Lock order: the clock first, then the task. Because the clock row is locked before the task is looked at, a change is
decided on the task as the last committed change left it, and versions come gapless and in commit order.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from todo_service.connect import Connection

_COLUMNS = (
    "id, user_id, title, description, status, priority, due_at, due_on, tags, "
    "created_at, updated_at, completed_at, version"
)
_TASK_COLUMNS = ", ".join(f"task.{column}" for column in _COLUMNS.split(", "))
_PAGE_COLUMNS = _TASK_COLUMNS.replace("task.", "page.")


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task. Due at a moment (`due_at`), on a whole day (`due_on`), or never; all moments are in UTC."""

    id: UUID
    user_id: str
    title: str
    description: str | None
    status: str
    priority: str
    due_at: datetime | None
    due_on: date | None
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a user's tasks, how many there are in all, and the user's version it was read at."""

    tasks: list[TaskRow]
    total: int
    version: int


class NewTask(NamedTuple):
    """What a task is created with."""

    id: UUID
    title: str
    description: str | None
    status: str
    priority: str
    due_at: datetime | None
    due_on: date | None
    tags: list[str]


class Changes(NamedTuple):
    """What an update asks for. None leaves a field alone; description and due are set, even to null, if flagged."""

    title: str | None = None
    sets_description: bool = False
    description: str | None = None
    status: str | None = None
    completed: bool | None = None
    toggles_completed: bool = False
    priority: str | None = None
    sets_due: bool = False
    due_at: datetime | None = None
    due_on: date | None = None
    tags: list[str] | None = None


SELECT = f"SELECT {_COLUMNS} FROM tasks WHERE user_id = $1 AND id = $2"


async def select(db: Connection, *, owner_id: str, task_id: UUID) -> TaskRow | None:
    """One task of this owner."""
    row = await db.fetchrow(SELECT, owner_id, task_id)
    return TaskRow(*row) if row else None


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


_INSERT_UNDER_CLOCK = f"""
INSERT INTO tasks ({_COLUMNS})
SELECT $3, $1, $4, $5, $6::text, $7, $8, $9, $10, moment, moment, CASE WHEN $6 = 'COMPLETED' THEN moment END, version
FROM clock
RETURNING {_COLUMNS}"""

INSERT = f"""
WITH clock AS (
    UPDATE task_clocks SET version = version + 1, task_count = task_count + 1
    WHERE user_id = $1 AND task_count < $2
    RETURNING version, clock_timestamp() AS moment
){_INSERT_UNDER_CLOCK}"""


async def insert(db: Connection, *, owner_id: str, max_tasks: int, task: NewTask) -> TaskRow | None:
    """Create a task, or None if the owner holds `max_tasks` or is gone. Raises the violation of `tasks_pkey`."""
    row = await db.fetchrow(INSERT, owner_id, max_tasks, *task)
    return TaskRow(*row) if row else None


# The user's row comes before the clock's, as in a deletion, so that the two never wait for each other. A clock that is
# made meanwhile by another first write is waited for, then raised as the other left it.
INSERT_FIRST = f"""
WITH newcomer AS (
    INSERT INTO users (id, email) VALUES ($1, $11) ON CONFLICT DO NOTHING RETURNING id
), clock AS (
    INSERT INTO task_clocks AS clock (user_id, version, task_count)
    SELECT $1, 1, 1 FROM (SELECT count(*) FROM newcomer) AS made
    ON CONFLICT (user_id) DO UPDATE SET version = clock.version + 1, task_count = clock.task_count + 1
    WHERE clock.task_count < $2
    RETURNING version, clock_timestamp() AS moment
){_INSERT_UNDER_CLOCK}"""


async def insert_first(
    db: Connection, *, owner_id: str, email: str | None, max_tasks: int, task: NewTask
) -> TaskRow | None:
    """Create a task of an owner who may have no row yet: it is made, with this email, in the same statement. None if
    the owner holds `max_tasks` (1 or more). Raises the violation of `tasks_pkey`.
    """
    row = await db.fetchrow(INSERT_FIRST, owner_id, max_tasks, *task, email)
    return TaskRow(*row) if row else None


# `old` is the task as the last committed change left it: both rows are locked before it is read, whatever the
# statement's snapshot says. What is compared is therefore `old`, never the snapshot's row `task`.
UPDATE = f"""
WITH clock AS MATERIALIZED (
    SELECT version FROM task_clocks WHERE user_id = $1 FOR UPDATE
), old AS MATERIALIZED (
    SELECT {_TASK_COLUMNS} FROM clock, tasks AS task WHERE task.user_id = $1 AND task.id = $2 FOR UPDATE OF task
), new AS MATERIALIZED (
    SELECT
        coalesce($3::text, title) AS title,
        CASE WHEN $4::boolean THEN $5::text ELSE description END AS description,
        CASE
            WHEN $6::text IS NOT NULL THEN $6
            WHEN $7::boolean OR ($8::boolean AND status <> 'COMPLETED') THEN 'COMPLETED'
            WHEN status = 'COMPLETED' AND (NOT $7 OR $8) THEN 'TODO'
            ELSE status
        END AS status,
        coalesce($9::text, priority) AS priority,
        CASE WHEN $10::boolean THEN $11::timestamptz ELSE due_at END AS due_at,
        CASE WHEN $10 THEN $12::date ELSE due_on END AS due_on,
        coalesce($13::text[], tags) AS tags,
        clock_timestamp() AS moment
    FROM old
), changed AS (
    UPDATE tasks AS task SET
        title = new.title, description = new.description, status = new.status, priority = new.priority,
        due_at = new.due_at, due_on = new.due_on, tags = new.tags, updated_at = new.moment,
        completed_at = CASE WHEN new.status = 'COMPLETED' THEN coalesce(old.completed_at, new.moment) END,
        version = clock.version + 1
    FROM clock, old, new
    WHERE task.user_id = $1 AND task.id = $2
        AND (old.title, old.description, old.status, old.priority, old.due_at, old.due_on, old.tags)
            IS DISTINCT FROM
            (new.title, new.description, new.status, new.priority, new.due_at, new.due_on, new.tags)
    RETURNING {_TASK_COLUMNS}
), raised AS (
    UPDATE task_clocks AS clock SET version = clock.version + 1 FROM changed WHERE clock.user_id = $1
)
SELECT {_COLUMNS} FROM changed
UNION ALL
SELECT {_COLUMNS} FROM old WHERE NOT EXISTS (SELECT FROM changed)"""


async def update(db: Connection, *, owner_id: str, task_id: UUID, changes: Changes) -> TaskRow | None:
    """Apply the changes and return the task; one that changes nothing keeps its version. None if it is not there."""
    row = await db.fetchrow(UPDATE, owner_id, task_id, *changes)
    return TaskRow(*row) if row else None


DELETE = """
WITH clock AS MATERIALIZED (
    SELECT version FROM task_clocks WHERE user_id = $1 FOR UPDATE
), gone AS (
    DELETE FROM tasks AS task USING clock WHERE task.user_id = $1 AND task.id = $2 RETURNING task.id
)
UPDATE task_clocks AS clock SET version = clock.version + 1, task_count = task_count - 1
FROM gone WHERE clock.user_id = $1
RETURNING clock.version"""


async def delete(db: Connection, *, owner_id: str, task_id: UUID) -> int | None:
    """Delete a task; returns the owner's version after it, or None if the task is not there."""
    version: int | None = await db.fetchval(DELETE, owner_id, task_id)
    return version


SELECT_OWNERS = "SELECT user_id FROM tasks WHERE id = $1 LIMIT 10"


async def select_owners(db: Connection, *, task_id: UUID) -> list[str]:
    """The users (ten at most) who have a task with this id; clients choose ids, so it may be several."""
    return [row[0] for row in await db.fetch(SELECT_OWNERS, task_id)]


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
