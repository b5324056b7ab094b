"""`tasks`: every statement names the owner, and every change raises the owner's change counter in the same statement.

Lock order: the clock first, then the task. Because the clock row is locked before the task is read, a change starts
from the task as the last committed change left it, and versions are gapless and in commit order.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from todo_service.errors import PreconditionFailed
from todo_service.postgres.connection import Connection, in_transaction, is_distributed
from todo_service.queries import audit_log, clocks, task_steps
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.statements import number
from todo_service.queries.task_rows import TASK_COLUMNS, Changes, Inserted, NewTask, TaskRow
from todo_service.queries.task_steps import DELETION_PARAMETERS, existing_task, task_deletion

SELECT = (
    f"SELECT {TASK_COLUMNS} FROM unnest($1::text[], $2::uuid[]) AS key (user_id, id) JOIN tasks USING (user_id, id)"
)


SELECT_ONE = f"SELECT {TASK_COLUMNS} FROM tasks WHERE user_id = $1 AND id = $2"


async def select(db: Connection, keys: Collection[tuple[str, UUID]]) -> dict[tuple[str, UUID], TaskRow]:
    """Return the tasks with these keys: the owner and the id of each. A task of another user has another key."""
    if is_distributed(db):
        rows = [row for key in keys for row in await db.fetch(SELECT_ONE, *key)]
    else:
        owner_ids, task_ids = zip(*keys, strict=True)
        rows = await db.fetch(SELECT, owner_ids, task_ids)
    return {(row["user_id"], row["id"]): TaskRow(*row) for row in rows}


_INSERT_PARAMETERS = ("owner_id", "max_tasks", *NewTask._fields)
INSERT = number(
    f"""
WITH existing AS MATERIALIZED ({existing_task}), clock AS (
    UPDATE task_clocks SET version = version + 1, task_count = task_count + 1
    WHERE user_id = :owner_id AND task_count < :max_tasks AND NOT EXISTS (SELECT FROM existing)
    RETURNING version, clock_timestamp() AS moment
), inserted AS (
    INSERT INTO tasks ({TASK_COLUMNS})
    SELECT
        :id, :owner_id, :title, :description, :status::text, :priority, :due_at, :due_on, :tags,
        moment, moment, CASE WHEN :status = 'COMPLETED' THEN moment END, version
    FROM clock
    RETURNING {TASK_COLUMNS}
)
SELECT true, {TASK_COLUMNS} FROM inserted
UNION ALL
SELECT false, {TASK_COLUMNS} FROM existing""",
    *_INSERT_PARAMETERS,
)


async def insert(db: Connection, *, owner_id: str, max_tasks: int, task: NewTask) -> Inserted | None:
    """Create a task, or return the owner's task with this id as it is. None if the owner holds `max_tasks` or is gone.

    Raises:
        asyncpg.UniqueViolationError: Another create with this id was committed meanwhile (`tasks_pkey`).
    """
    if is_distributed(db):
        async with in_transaction(db):
            return await task_steps.insert(db, owner_id=owner_id, max_tasks=max_tasks, task=task)
    row = await db.fetchrow(INSERT, owner_id, max_tasks, *task)
    return Inserted(row[0], TaskRow(*row[1:])) if row else None


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
    INSERT INTO audit_log (action, actor_id, request_id, detail, address, subject_id)
    SELECT :action, :actor_id, :request_id, :detail, :address, :owner_id FROM {change}
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
    if audit is not None and is_distributed(db):
        async with in_transaction(db):
            before = await clocks.lock(db, owner_id=owner_id) or 0
            task = await update(db, owner_id=owner_id, task_id=task_id, changes=changes, if_versions=if_versions)
            if task is not None and task.version > before:
                await audit_log.insert(db, audit, subject_id=owner_id)
            return task
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


_BURIED = """, buried AS (
    INSERT INTO task_tombstones (user_id, version, id, deleted_at)
    SELECT :owner_id, version, :task_id, clock_timestamp() FROM raised
)"""
DELETE = number(task_deletion.format(more=_BURIED), *DELETION_PARAMETERS)
DELETE_AUDITED = number(
    task_deletion.format(more=_BURIED + _AUDITED.format(change="deleted")), *DELETION_PARAMETERS, *AuditEntry._fields
)


async def delete(
    db: Connection,
    *,
    owner_id: str,
    task_id: UUID,
    if_versions: Collection[int] | None = None,
    audit: AuditEntry | None = None,
) -> int | None:
    """Delete a task, leaving a tombstone; return the owner's version after it, or None if the task is not there. The
    owner's tombstones of 100,000 versions ago go, however young, so that no user fills the disk.

    The arguments and the error are those of `update`.
    """
    row: Any  # the task's version and the owner's after it, None for this if the task has another one
    if is_distributed(db):
        async with in_transaction(db):
            row = await task_steps.delete(db, owner_id=owner_id, task_id=task_id, if_versions=if_versions)
            if row is not None and row[1] is not None and audit is not None:
                await audit_log.insert(db, audit, subject_id=owner_id)
    elif audit is None:
        row = await db.fetchrow(DELETE, owner_id, task_id, if_versions)
    else:
        row = await db.fetchrow(DELETE_AUDITED, owner_id, task_id, if_versions, *audit)
    if row is not None and row[1] is None:
        raise PreconditionFailed(row[0])
    version: int | None = row and row[1]
    return version


SELECT_OWNERS = "SELECT user_id FROM tasks WHERE id = $1 LIMIT 10"


async def select_owners(db: Connection, *, task_id: UUID) -> list[str]:
    """Return the users (ten at most) with a task of this id; clients choose ids, so it may be several."""
    return [row[0] for row in await db.fetch(SELECT_OWNERS, task_id)]
