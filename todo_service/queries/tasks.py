"""`tasks`: every statement names the owner, and every change raises the owner's change counter in the same statement.

Lock order: the clock first, then the task. Because the clock row is locked before the task is looked at, a change is
decided on the task as the last committed change left it, and versions come gapless and in commit order.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from todo_service.errors import PreconditionFailed
from todo_service.postgres.connector import Connection, Row

_COLUMNS = (
    "id, user_id, title, description, status, priority, due_at, due_on, tags, "
    "created_at, updated_at, completed_at, version"
)
_TASK_COLUMNS = ", ".join(f"task.{column}" for column in _COLUMNS.split(", "))


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


class Inserted(NamedTuple):
    """What came of a create: the task, and whether it is new or had been there under its id."""

    is_new: bool
    task: TaskRow


_EXISTING = f"existing AS MATERIALIZED (SELECT {_COLUMNS} FROM tasks WHERE user_id = $1 AND id = $3)"
_MADE_UNDER_CLOCK = f"""
made AS (
    INSERT INTO tasks ({_COLUMNS})
    SELECT
        $3, $1, $4, $5, $6::text, $7, $8, $9, $10,
        moment, moment, CASE WHEN $6 = 'COMPLETED' THEN moment END, version
    FROM clock
    RETURNING {_COLUMNS}
)
SELECT true, {_COLUMNS} FROM made
UNION ALL
SELECT false, {_COLUMNS} FROM existing"""

INSERT = f"""
WITH {_EXISTING}, clock AS (
    UPDATE task_clocks SET version = version + 1, task_count = task_count + 1
    WHERE user_id = $1 AND task_count < $2 AND NOT EXISTS (SELECT FROM existing)
    RETURNING version, clock_timestamp() AS moment
), {_MADE_UNDER_CLOCK}"""


async def insert(db: Connection, *, owner_id: str, max_tasks: int, task: NewTask) -> Inserted | None:
    """Create a task, or None if the owner holds `max_tasks` or is gone. A task of the owner that has its id is returned
    as it is; if another create with this id is committed meanwhile, the violation of `tasks_pkey` is raised.
    """
    return _inserted(await db.fetchrow(INSERT, owner_id, max_tasks, *task))


# The user's row comes before the clock's, as in a deletion, so that the two never wait for each other. A clock that is
# made meanwhile by another first write is waited for, then raised as the other left it.
INSERT_FIRST = f"""
WITH {_EXISTING}, newcomer AS (
    INSERT INTO users (id, email) SELECT $1, $11 WHERE NOT EXISTS (SELECT FROM existing)
    ON CONFLICT DO NOTHING RETURNING id
), clock AS (
    INSERT INTO task_clocks AS clock (user_id, version, task_count)
    SELECT $1, 1, 1 FROM (SELECT count(*) FROM newcomer) AS made WHERE NOT EXISTS (SELECT FROM existing)
    ON CONFLICT (user_id) DO UPDATE SET version = clock.version + 1, task_count = clock.task_count + 1
    WHERE clock.task_count < $2
    RETURNING version, clock_timestamp() AS moment
), {_MADE_UNDER_CLOCK}"""


async def insert_first(
    db: Connection, *, owner_id: str, email: str | None, max_tasks: int, task: NewTask
) -> Inserted | None:
    """The same for an owner who may have no row yet: it is made, with this email, in the same statement. None only if
    the owner holds `max_tasks` (1 or more).
    """
    return _inserted(await db.fetchrow(INSERT_FIRST, owner_id, max_tasks, *task, email))


def _inserted(row: Row | None) -> Inserted | None:
    if row is None:
        return None
    is_new, *task = row
    return Inserted(is_new, TaskRow(*task))


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
        AND ($14::bigint[] IS NULL OR old.version = ANY ($14))
        AND (old.title, old.description, old.status, old.priority, old.due_at, old.due_on, old.tags)
            IS DISTINCT FROM
            (new.title, new.description, new.status, new.priority, new.due_at, new.due_on, new.tags)
    RETURNING {_TASK_COLUMNS}
), raised AS (
    UPDATE task_clocks AS clock SET version = clock.version + 1 FROM changed WHERE clock.user_id = $1
)
SELECT true, {_COLUMNS} FROM changed
UNION ALL
SELECT $14 IS NULL OR version = ANY ($14), {_COLUMNS} FROM old WHERE NOT EXISTS (SELECT FROM changed)"""


async def update(
    db: Connection, *, owner_id: str, task_id: UUID, changes: Changes, if_versions: Collection[int] | None = None
) -> TaskRow | None:
    """Apply the changes and return the task; one that changes nothing keeps its version. None if it is not there.
    Raises `PreconditionFailed` if it is at none of `if_versions` (None: any).
    """
    row = await db.fetchrow(UPDATE, owner_id, task_id, *changes, if_versions)
    if row is None:
        return None
    is_wanted, *columns = row
    task = TaskRow(*columns)
    if not is_wanted:
        raise PreconditionFailed(task.version)
    return task


DELETE = """
WITH clock AS MATERIALIZED (
    SELECT version FROM task_clocks WHERE user_id = $1 FOR UPDATE
), old AS MATERIALIZED (
    SELECT task.id, task.version FROM clock, tasks AS task WHERE task.user_id = $1 AND task.id = $2 FOR UPDATE OF task
), gone AS (
    DELETE FROM tasks AS task USING old
    WHERE task.user_id = $1 AND task.id = $2 AND ($3::bigint[] IS NULL OR old.version = ANY ($3))
    RETURNING task.id
), raised AS (
    UPDATE task_clocks AS clock SET version = clock.version + 1, task_count = task_count - 1
    FROM gone WHERE clock.user_id = $1
    RETURNING clock.version
), buried AS (
    INSERT INTO task_tombstones (user_id, version, id, deleted_at)
    SELECT $1, version, $2, clock_timestamp() FROM raised
)
SELECT old.version, raised.version FROM old LEFT JOIN raised ON true"""


async def delete(
    db: Connection, *, owner_id: str, task_id: UUID, if_versions: Collection[int] | None = None
) -> int | None:
    """Delete a task, leaving a tombstone; returns the owner's version after it, or None if the task is not there.
    Raises `PreconditionFailed` if it is at none of `if_versions` (None: any).
    """
    row = await db.fetchrow(DELETE, owner_id, task_id, if_versions)
    if row is None:
        return None
    old_version, raised_version = row
    if raised_version is None:
        raise PreconditionFailed(old_version)
    version: int = raised_version
    return version


SELECT_OWNERS = "SELECT user_id FROM tasks WHERE id = $1 LIMIT 10"


async def select_owners(db: Connection, *, task_id: UUID) -> list[str]:
    """The users (ten at most) who have a task with this id; clients choose ids, so it may be several."""
    return [row[0] for row in await db.fetch(SELECT_OWNERS, task_id)]
