"""`tasks`: every statement names the owner, and every change raises the owner's change counter in the same statement.

Lock order: the clock first, then the task. Because the clock row is locked before the task is read, a change starts
from the task as the last committed change left it, and versions are gapless and in commit order.
"""

from collections.abc import Collection
from uuid import UUID

from asyncpg import Record

from todo_service.errors import PreconditionFailed
from todo_service.postgres.connection import Connection
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.statements import number
from todo_service.queries.task_rows import TASK_COLUMNS, Changes, Inserted, NewTask, TaskRow

SELECT = (
    f"SELECT {TASK_COLUMNS} FROM unnest($1::text[], $2::uuid[]) AS key (user_id, id) JOIN tasks USING (user_id, id)"
)


async def select(db: Connection, keys: Collection[tuple[str, UUID]]) -> dict[tuple[str, UUID], TaskRow]:
    """Return the tasks with these keys: the owner and the id of each. A task of another user has another key."""
    owner_ids, task_ids = zip(*keys, strict=True)
    rows = await db.fetch(SELECT, owner_ids, task_ids)
    return {(row["user_id"], row["id"]): TaskRow(*row) for row in rows}


_INSERT_PARAMETERS = ("owner_id", "max_tasks", *NewTask._fields)
_EXISTING = f"existing AS MATERIALIZED (SELECT {TASK_COLUMNS} FROM tasks WHERE user_id = :owner_id AND id = :id)"
_INSERTED_BY_CLOCK = f"""
inserted AS (
    INSERT INTO tasks ({TASK_COLUMNS})
    SELECT
        :id, :owner_id, :title, :description, :status::text, :priority, :due_at, :due_on, :tags,
        moment, moment, CASE WHEN :status = 'COMPLETED' THEN moment END, version
    FROM clock
    RETURNING {TASK_COLUMNS}
)
SELECT true, {TASK_COLUMNS} FROM inserted
UNION ALL
SELECT false, {TASK_COLUMNS} FROM existing"""

INSERT = number(
    f"""
WITH {_EXISTING}, clock AS (
    UPDATE task_clocks SET version = version + 1, task_count = task_count + 1
    WHERE user_id = :owner_id AND task_count < :max_tasks AND NOT EXISTS (SELECT FROM existing)
    RETURNING version, clock_timestamp() AS moment
), {_INSERTED_BY_CLOCK}""",
    *_INSERT_PARAMETERS,
)


async def insert(db: Connection, *, owner_id: str, max_tasks: int, task: NewTask) -> Inserted | None:
    """Create a task, or return the owner's task with this id as it is. None if the owner holds `max_tasks` or is gone.

    Raises:
        asyncpg.UniqueViolationError: Another create with this id was committed meanwhile (`tasks_pkey`).
    """
    return _inserted(await db.fetchrow(INSERT, owner_id, max_tasks, *task))


# The user's row is locked before the clock's, as in a deletion, so that the two never deadlock. A clock that another
# first write is creating is waited for, then raised as the other left it.
INSERT_FIRST = number(
    f"""
WITH {_EXISTING}, newcomer AS (
    INSERT INTO users (id, email) SELECT :owner_id, :email WHERE NOT EXISTS (SELECT FROM existing)
    ON CONFLICT DO NOTHING RETURNING id
), clock AS (
    INSERT INTO task_clocks AS clock (user_id, version, task_count)
    SELECT :owner_id, 1, 1 FROM (SELECT count(*) FROM newcomer) AS created WHERE NOT EXISTS (SELECT FROM existing)
    ON CONFLICT (user_id) DO UPDATE SET version = clock.version + 1, task_count = clock.task_count + 1
    WHERE clock.task_count < :max_tasks
    RETURNING version, clock_timestamp() AS moment
), {_INSERTED_BY_CLOCK}""",
    *_INSERT_PARAMETERS,
    "email",
)


async def insert_first(
    db: Connection, *, owner_id: str, email: str | None, max_tasks: int, task: NewTask
) -> Inserted | None:
    """Create a task as `insert` does, for an owner without a row: it is created with this email.

    None only if the owner holds `max_tasks` (1 or more).
    """
    return _inserted(await db.fetchrow(INSERT_FIRST, owner_id, max_tasks, *task, email))


def _inserted(row: Record | None) -> Inserted | None:
    if row is None:
        return None
    is_new, *task = row
    return Inserted(is_new, TaskRow(*task))


_UPDATE_PARAMETERS = ("owner_id", "task_id", *Changes._fields, "if_versions")
# `old` is the task as the last committed change left it: both rows are locked before it is read, whatever the
# snapshot of the statement says. The comparison therefore uses `old`, never the snapshot's row `task`.
_UPDATE = f"""
WITH clock AS MATERIALIZED (
    SELECT version FROM task_clocks WHERE user_id = :owner_id FOR UPDATE
), old AS MATERIALIZED (
    SELECT {TASK_COLUMNS.of("task")} FROM clock, tasks AS task
    WHERE task.user_id = :owner_id AND task.id = :task_id FOR UPDATE OF task
), new AS MATERIALIZED (
    SELECT
        coalesce(:title::text, title) AS title,
        CASE WHEN :sets_description::boolean THEN :description::text ELSE description END AS description,
        CASE
            WHEN :status::text IS NOT NULL THEN :status
            WHEN :completed::boolean OR (:toggles_completed::boolean AND status <> 'COMPLETED') THEN 'COMPLETED'
            WHEN status = 'COMPLETED' AND (NOT :completed OR :toggles_completed) THEN 'TODO'
            ELSE status
        END AS status,
        coalesce(:priority::text, priority) AS priority,
        CASE WHEN :sets_due::boolean THEN :due_at::timestamptz ELSE due_at END AS due_at,
        CASE WHEN :sets_due THEN :due_on::date ELSE due_on END AS due_on,
        coalesce(:tags::text[], tags) AS tags,
        clock_timestamp() AS moment
    FROM old
), changed AS (
    UPDATE tasks AS task SET
        title = new.title, description = new.description, status = new.status, priority = new.priority,
        due_at = new.due_at, due_on = new.due_on, tags = new.tags, updated_at = new.moment,
        completed_at = CASE WHEN new.status = 'COMPLETED' THEN coalesce(old.completed_at, new.moment) END,
        version = clock.version + 1
    FROM clock, old, new
    WHERE task.user_id = :owner_id AND task.id = :task_id
        AND (:if_versions::bigint[] IS NULL OR old.version = ANY (:if_versions))
        AND (old.title, old.description, old.status, old.priority, old.due_at, old.due_on, old.tags)
            IS DISTINCT FROM
            (new.title, new.description, new.status, new.priority, new.due_at, new.due_on, new.tags)
    RETURNING {TASK_COLUMNS.of("task")}
), raised AS (
    UPDATE task_clocks AS clock SET version = clock.version + 1 FROM changed WHERE clock.user_id = :owner_id
){{audited}}
SELECT true, {TASK_COLUMNS} FROM changed
UNION ALL
SELECT :if_versions IS NULL OR version = ANY (:if_versions), {TASK_COLUMNS} FROM old
WHERE NOT EXISTS (SELECT FROM changed)"""
# An audited change and its line in the audit log are one statement, so neither is there without the other.
_AUDITED = """, audited AS (
    INSERT INTO audit_log (action, actor_id, request_id, detail, subject_id)
    SELECT :action, :actor_id, :request_id, :detail, :owner_id FROM {change}
)"""

UPDATE = number(_UPDATE.format(audited=""), *_UPDATE_PARAMETERS)
UPDATE_AUDITED = number(
    _UPDATE.format(audited=_AUDITED.format(change="changed")), *_UPDATE_PARAMETERS, *AuditEntry._fields
)


async def update(
    db: Connection,
    *,
    owner_id: str,
    task_id: UUID,
    changes: Changes,
    if_versions: Collection[int] | None = None,
    audit: AuditEntry | None = None,
) -> TaskRow | None:
    """Apply the changes and return the task, or None if it is not there. Without a difference it keeps its version.

    Args:
        if_versions: The versions that the task may have; None for any.
        audit: Recorded in the audit log if the task changes.

    Raises:
        PreconditionFailed: The task has another version.
    """
    if audit is None:
        row = await db.fetchrow(UPDATE, owner_id, task_id, *changes, if_versions)
    else:
        row = await db.fetchrow(UPDATE_AUDITED, owner_id, task_id, *changes, if_versions, *audit)
    if row is None:
        return None
    version_matches, *columns = row
    task = TaskRow(*columns)
    if not version_matches:
        raise PreconditionFailed(task.version)
    return task


_DELETE_PARAMETERS = ("owner_id", "task_id", "if_versions")
_DELETE = """
WITH clock AS MATERIALIZED (
    SELECT version FROM task_clocks WHERE user_id = :owner_id FOR UPDATE
), old AS MATERIALIZED (
    SELECT task.id, task.version FROM clock, tasks AS task
    WHERE task.user_id = :owner_id AND task.id = :task_id FOR UPDATE OF task
), deleted AS (
    DELETE FROM tasks AS task USING old
    WHERE task.user_id = :owner_id AND task.id = :task_id
        AND (:if_versions::bigint[] IS NULL OR old.version = ANY (:if_versions))
    RETURNING task.id
), raised AS (
    UPDATE task_clocks AS clock SET version = clock.version + 1, task_count = task_count - 1
    FROM deleted WHERE clock.user_id = :owner_id
    RETURNING clock.version
), buried AS (
    INSERT INTO task_tombstones (user_id, version, id, deleted_at)
    SELECT :owner_id, version, :task_id, clock_timestamp() FROM raised
){audited}
SELECT old.version, raised.version FROM old LEFT JOIN raised ON true"""
DELETE = number(_DELETE.format(audited=""), *_DELETE_PARAMETERS)
DELETE_AUDITED = number(
    _DELETE.format(audited=_AUDITED.format(change="deleted")), *_DELETE_PARAMETERS, *AuditEntry._fields
)


async def delete(
    db: Connection,
    *,
    owner_id: str,
    task_id: UUID,
    if_versions: Collection[int] | None = None,
    audit: AuditEntry | None = None,
) -> int | None:
    """Delete a task, leaving a tombstone; return the owner's version after it, or None if the task is not there.

    The arguments and the error are those of `update`.
    """
    if audit is None:
        row = await db.fetchrow(DELETE, owner_id, task_id, if_versions)
    else:
        row = await db.fetchrow(DELETE_AUDITED, owner_id, task_id, if_versions, *audit)
    if row is None:
        return None
    old_version, raised_version = row
    if raised_version is None:
        raise PreconditionFailed(old_version)
    version: int = raised_version
    return version


SELECT_OWNERS = "SELECT user_id FROM tasks WHERE id = $1 LIMIT 10"


async def select_owners(db: Connection, *, task_id: UUID) -> list[str]:
    """Return the users (ten at most) with a task of this id; clients choose ids, so it may be several."""
    return [row[0] for row in await db.fetch(SELECT_OWNERS, task_id)]
