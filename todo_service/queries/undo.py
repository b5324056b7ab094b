"""Taking back changes of tasks: each task becomes as it was before the first of the changes, by a new change.

Needs the owner's clock to be locked, so that nothing changes between the two statements.
"""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from todo_service.postgres.connection import Connection
from todo_service.queries.statements import number
from todo_service.queries.task_changes import CONTENT, ORIGIN_PARAMETERS, Origin, change_columns, content_of


class Selection(NamedTuple):
    """The changes to take back: those above a version, of a request, or of a source since a moment.

    Attributes:
        days: How many days of the past are kept.
    """

    days: int
    to_version: int = 0
    request_id: str | None = None
    source: str | None = None
    since: datetime | None = None


class Candidate(NamedTuple):
    """A task that differs from its state before the selected changes.

    Attributes:
        version: The version of the first of these changes.
        is_conflict: Whether another source has changed the task since, or a change that was not kept.
    """

    version: int
    task_id: UUID
    is_conflict: bool


class Undone(NamedTuple):
    """A task after its changes were taken back: its new version, and whether it is gone."""

    task_id: UUID
    version: int
    deletes: bool


_OF_OWNER = "FROM task_changes WHERE user_id = :owner_id AND version > :to_version"
_IS_SELECTED = """(NOT deletes OR title IS NOT NULL)
        AND changed_at > statement_timestamp() - :days * interval '1 day'
        AND (:request_id::text IS NULL OR request_id = :request_id)
        AND (:source::text IS NULL OR source = :source)
        AND (:since::timestamptz IS NULL OR changed_at >= :since)"""
_PARAMETERS = ("owner_id", *Selection._fields)
COUNT = number(f"SELECT count(version) {_OF_OWNER} AND {_IS_SELECTED}", *_PARAMETERS)


async def count(db: Connection, selection: Selection, *, owner_id: str) -> int:
    """Return the number of selected changes."""
    number_of_changes: int = await db.fetchval(COUNT, owner_id, *selection)
    return number_of_changes


_RENEWED = ", ".join("statement_timestamp()" if name == "updated_at" else name for name in CONTENT)
_STATE = [name for name in CONTENT if name != "updated_at"]
# One pass over the changes, without a join by task, since there may be thousands of both.
SELECT = number(
    f"""
WITH change AS MATERIALIZED (
    SELECT task_id, version, source, {_IS_SELECTED} AS is_selected {_OF_OWNER}
), sources AS MATERIALIZED (
    SELECT array_agg(DISTINCT source) AS names FROM change WHERE is_selected AND source IS NOT NULL
), first AS MATERIALIZED (
    SELECT
        task_id, min(version) FILTER (WHERE is_selected) AS version,
        max(version) FILTER (WHERE source IS NULL OR source <> ALL (names)) AS others, max(version) AS last
    FROM change, sources GROUP BY task_id
)
SELECT
    first.version, first.task_id,
    coalesce(first.others > first.version, false) OR coalesce(task.version <> first.last, false)
FROM first JOIN task_changes AS change ON change.user_id = :owner_id AND change.version = first.version
LEFT JOIN tasks AS task ON task.user_id = :owner_id AND task.id = first.task_id
WHERE ({", ".join(f"change.{name}" for name in _STATE)})
    IS DISTINCT FROM ({", ".join(f"task.{name}" for name in _STATE)})
ORDER BY first.version""",
    *_PARAMETERS,
)


async def select(db: Connection, selection: Selection, *, owner_id: str) -> list[Candidate]:
    """Return the tasks that would change, in the order of the selected changes."""
    return [Candidate(*row) for row in await db.fetch(SELECT, owner_id, *selection)]


_OLD = ", ".join(f"old_{name}" for name in CONTENT)
# `planned` has each task as it will be beside the one that is there; the new versions follow the order of the changes.
# No CTE is joined to another: PostgreSQL expects few rows in them, and would compare each with each.
APPLY = number(
    f"""
WITH planned AS MATERIALIZED (
    SELECT
        change.task_id, change.title IS NULL AS vanishes, {content_of("change")}, task.version AS old_version,
        {", ".join(f"task.{name} AS old_{name}" for name in CONTENT)},
        row_number() OVER (ORDER BY change.version) AS number
    FROM task_changes AS change LEFT JOIN tasks AS task ON task.user_id = :owner_id AND task.id = change.task_id
    WHERE change.user_id = :owner_id AND change.version = ANY (:versions::bigint[])
), totals AS MATERIALIZED (
    SELECT
        count(*) AS changes,
        count(*) FILTER (WHERE old_version IS NULL) - count(*) FILTER (WHERE vanishes) AS growth
    FROM planned
), raised AS (
    UPDATE task_clocks AS clock SET version = version + changes, task_count = task_count + growth
    FROM totals
    WHERE clock.user_id = :owner_id AND (growth <= 0 OR task_count + growth <= :max_tasks)
    RETURNING version
), settled AS MATERIALIZED (
    SELECT
        task_id, vanishes, {", ".join(CONTENT)}, old_version, {_OLD},
        raised.version - changes + number AS version
    FROM planned, totals, raised
), deleted AS (
    DELETE FROM tasks AS task USING settled
    WHERE task.user_id = :owner_id AND task.id = settled.task_id AND settled.vanishes
), upserted AS (
    INSERT INTO tasks (user_id, id, version, {", ".join(CONTENT)})
    SELECT :owner_id, task_id, version, {_RENEWED}
    FROM settled WHERE NOT vanishes
    ON CONFLICT (user_id, id) DO UPDATE SET
        version = excluded.version, {", ".join(f"{name} = excluded.{name}" for name in CONTENT)}
), noted AS (
    INSERT INTO task_changes ({change_columns})
    SELECT
        :owner_id, version, task_id, statement_timestamp(), :operation, vanishes, :by_actor, :by_source, :by_request,
        coalesce(old_version, (
            SELECT max(deletion.version) FROM task_changes AS deletion
            WHERE deletion.user_id = :owner_id AND deletion.task_id = settled.task_id AND deletion.deletes
        )), {_OLD}
    FROM settled
)
SELECT task_id, version, vanishes FROM settled ORDER BY version""",
    "owner_id", "max_tasks", "versions", "operation", *ORIGIN_PARAMETERS,
)  # fmt: skip


async def apply(
    db: Connection, *, owner_id: str, max_tasks: int, versions: Collection[int], operation: str, origin: Origin
) -> list[Undone] | None:
    """Let tasks be as they were before the changes of these versions, one version for each task.

    None, without a change, if there would be more than `max_tasks`.

    Args:
        operation: `undo` or `restore`, for the history.
        origin: The origin of the new changes.
    """
    if not versions:
        return []
    rows = await db.fetch(APPLY, owner_id, max_tasks, list(versions), operation, *origin)
    return [Undone(*row) for row in rows] or None
