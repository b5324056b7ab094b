"""Export and import: pages of all tasks, and all tasks of a file in one statement.

An import is two statements of one transaction. The first locks the clock, as every change does; the second, with a
snapshot of its own, sees the tasks as the last committed change left them, and no other change intervenes.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import NamedTuple
from uuid import UUID

import orjson

from todo_service.postgres.connection import Connection
from todo_service.queries.task_changes import CONTENT, NO_ORIGIN, Origin, change_columns
from todo_service.queries.task_rows import TASK_COLUMNS, TaskRow

BEGINNING = (datetime.min.replace(tzinfo=UTC), UUID(int=0))  # before every task: asyncpg writes it as -infinity

SELECT_PAGE = f"""
SELECT {TASK_COLUMNS} FROM tasks
WHERE user_id = $1 AND (created_at, id) > ($2, $3)
ORDER BY created_at, id
LIMIT $4::bigint"""


async def select_page(db: Connection, *, owner_id: str, after: tuple[datetime, UUID], limit: int) -> list[TaskRow]:
    """Return at most `limit` of the owner's tasks, oldest first, after the one with this `created_at` and id."""
    return [TaskRow(*row) for row in await db.fetch(SELECT_PAGE, owner_id, *after, limit)]


class ImportTask(NamedTuple):
    """A task in a file.

    A field that is None is absent: a new task gets the default, an existing one keeps its value. Description and due
    date are set, even to null, if flagged.
    """

    id: UUID
    title: str
    sets_description: bool = False
    description: str | None = None
    status: str | None = None
    completed: bool | None = None
    priority: str | None = None
    sets_due: bool = False
    due_at: datetime | None = None
    due_on: date | None = None
    tags: list[str] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    completed_at: datetime | None = None


class ImportFile(NamedTuple):
    """All tasks of a file as one parameter, and the precision of its moments: `microseconds` or `second`."""

    tasks: str
    precision: str


def pack(tasks: Iterable[ImportTask], *, precision: str) -> ImportFile:
    """Pack the tasks. Ten thousand take about 30 ms, so not on the event loop."""
    documents = b",".join(orjson.dumps(task._asdict()) for task in tasks)  # one by one: interruptible
    return ImportFile(f"[{documents.decode()}]", precision)


class ImportResult(NamedTuple):
    """The result of an import: the number of new, changed and unchanged tasks, and the owner's version after it."""

    created: int
    updated: int
    unchanged: int
    version: int


_SENT = (
    "id uuid, title text, sets_description boolean, description text, status text, completed boolean, priority text, "
    "sets_due boolean, due_at timestamptz, due_on date, tags text[], created_at timestamptz, updated_at timestamptz, "
    "completed_at timestamptz"
)
_SENT_NAMES = ", ".join(column.split()[0] for column in _SENT.split(", "))
_CONTENT = "title, description, status, priority, due_at, due_on, tags, created_at"
_OLD = ", ".join(f"old_{name}" for name in CONTENT)
_OLD_CONTENT = ", ".join(f"old_{name}" for name in _CONTENT.split(", "))


def _moment(name: str) -> str:
    """The stored moment if the file's equals it to the file's precision, else the file's, else the stored one."""
    return f"""CASE
            WHEN date_trunc($4, old.{name}) = sent.{name} THEN old.{name} ELSE coalesce(sent.{name}, old.{name})
        END"""


# `merged` has each task as it will be beside the stored one; `settled` are those that differ, with the moment of their
# change. Versions follow the order of the file, and a task that does not differ gets none.
MERGE = f"""
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS moment FROM task_clocks WHERE user_id = $1
), sent AS MATERIALIZED (
    SELECT {_SENT_NAMES}, position
    FROM ROWS FROM (json_to_recordset($3::json) AS ({_SENT})) WITH ORDINALITY AS sent ({_SENT_NAMES}, position)
), merged AS MATERIALIZED (
    SELECT
        sent.position, sent.id, old.id IS NULL AS is_new, sent.title,
        CASE WHEN old.id IS NULL OR sent.sets_description THEN sent.description ELSE old.description END AS description,
        CASE
            WHEN sent.status IS NOT NULL THEN sent.status
            WHEN sent.completed THEN 'COMPLETED'
            WHEN old.id IS NULL OR (NOT sent.completed AND old.status = 'COMPLETED') THEN 'TODO'
            ELSE old.status
        END AS status,
        coalesce(sent.priority, old.priority, 'MEDIUM') AS priority,
        CASE
            WHEN date_trunc($4, old.due_at) = sent.due_at THEN old.due_at
            WHEN old.id IS NULL OR sent.sets_due THEN sent.due_at
            ELSE old.due_at
        END AS due_at,
        CASE WHEN old.id IS NULL OR sent.sets_due THEN sent.due_on ELSE old.due_on END AS due_on,
        coalesce(sent.tags, old.tags, '{{}}') AS tags,
        coalesce({_moment("created_at")}, clock.moment) AS created_at,
        CASE
            WHEN sent.updated_at > clock.moment THEN coalesce(old.updated_at, clock.moment)
            ELSE {_moment("updated_at")}
        END AS updated_at,
        {_moment("completed_at")} AS completed_at,
        old.title AS old_title, old.description AS old_description, old.status AS old_status,
        old.priority AS old_priority, old.due_at AS old_due_at, old.due_on AS old_due_on, old.tags AS old_tags,
        old.created_at AS old_created_at, old.updated_at AS old_updated_at, old.completed_at AS old_completed_at,
        old.version AS old_version,
        clock.moment
    FROM clock, sent LEFT JOIN tasks AS old ON old.user_id = $1 AND old.id = sent.id
), compared AS MATERIALIZED (
    SELECT
        position, id, is_new, {_CONTENT}, updated_at, completed_at, moment, old_version, {_OLD},
        ({_CONTENT}) IS DISTINCT FROM ({_OLD_CONTENT})
        OR (status = 'COMPLETED' AND completed_at IS DISTINCT FROM old_completed_at) AS differs
    FROM merged
), settled AS MATERIALIZED (
    SELECT
        position, id, is_new, {_CONTENT}, completed_at, moment, old_version, {_OLD},
        CASE
            WHEN differs AND updated_at = old_updated_at THEN moment ELSE coalesce(updated_at, moment)
        END AS updated_at
    FROM compared
    WHERE is_new OR differs OR updated_at > old_updated_at
), numbered AS MATERIALIZED (
    SELECT
        id, {_CONTENT}, updated_at, completed_at, moment, old_version, {_OLD},
        row_number() OVER (ORDER BY position) AS number
    FROM settled
), totals AS MATERIALIZED (
    SELECT
        count(*) FILTER (WHERE is_new) AS created,
        count(*) FILTER (WHERE NOT is_new) AS updated,
        (SELECT count(*) FROM sent) - count(*) AS unchanged
    FROM settled
), raised AS (
    UPDATE task_clocks AS clock
    SET version = version + created + updated, task_count = task_count + created
    FROM totals
    WHERE clock.user_id = $1 AND (created = 0 OR task_count + created <= $2)
    RETURNING version
), upserted AS (
    INSERT INTO tasks (user_id, id, {_CONTENT}, updated_at, completed_at, version)
    SELECT
        $1, id, {_CONTENT}, updated_at, CASE WHEN status = 'COMPLETED' THEN coalesce(completed_at, updated_at) END,
        raised.version - created - updated + number
    FROM numbered, totals, raised
    ORDER BY number
    ON CONFLICT (user_id, id) DO UPDATE SET
        title = excluded.title, description = excluded.description, status = excluded.status,
        priority = excluded.priority, due_at = excluded.due_at, due_on = excluded.due_on, tags = excluded.tags,
        created_at = excluded.created_at, updated_at = excluded.updated_at, completed_at = excluded.completed_at,
        version = excluded.version
), noted AS (
    INSERT INTO task_changes ({change_columns})
    SELECT
        $1, raised.version - created - updated + number, id, moment, 'import', false, $5::text, $6, $7,
        old_version, {_OLD}
    FROM numbered, totals, raised
    WHERE $6::text IS NOT NULL
)
SELECT created, updated, unchanged, version FROM totals, raised"""


async def merge(
    db: Connection, *, owner_id: str, max_tasks: int, file: ImportFile, origin: Origin | None = None
) -> ImportResult | None:
    """Create and change the tasks of an owner, with the clock locked, as in the file.

    None, without a change, if there would be more than `max_tasks`. No id may occur twice.

    Args:
        origin: The origin of the changes, for the history; None keeps none.
    """
    row = await db.fetchrow(MERGE, owner_id, max_tasks, file.tasks, file.precision, *(origin or NO_ORIGIN))
    return ImportResult(*row) if row else None
