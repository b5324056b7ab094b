"""`tasks`: every statement names the owner, and every change raises the owner's change counter in the same statement.

Lock order: the clock first, then the task. Because the clock row is locked before the task is read, a change starts
from the task as the last committed change left it, and versions are gapless and in commit order.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from todo_service.errors import PreconditionFailed
from todo_service.postgres.connection import Connection, in_transaction, is_distributed
from todo_service.queries import audit_log, task_steps
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.statements import number
from todo_service.queries.task_changes import NO_ORIGIN, ORIGIN_PARAMETERS, Origin, change_columns, content_of
from todo_service.queries.task_rows import TASK_COLUMNS, Changes, Inserted, NewTask, TaskRow
from todo_service.queries.task_steps import (
    DELETION_PARAMETERS,
    UPDATE_PARAMETERS,
    existing_task,
    task_deletion,
    task_update,
)

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


_INSERT_PARAMETERS = ("owner_id", "max_tasks", *NewTask._fields, *ORIGIN_PARAMETERS)
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
), noted AS (
    INSERT INTO task_changes (user_id, version, task_id, changed_at, operation, deletes, actor_id, source, request_id)
    SELECT user_id, version, id, created_at, 'create', false, :by_actor::text, :by_source, :by_request
    FROM inserted WHERE :by_source::text IS NOT NULL
)
SELECT true, {TASK_COLUMNS} FROM inserted
UNION ALL
SELECT false, {TASK_COLUMNS} FROM existing""",
    *_INSERT_PARAMETERS,
)


async def insert(
    db: Connection, *, owner_id: str, max_tasks: int, task: NewTask, origin: Origin | None = None
) -> Inserted | None:
    """Create a task, or return the owner's task with this id as it is. None if the owner holds `max_tasks` or is gone.

    Args:
        origin: The origin of the change, for the history; None keeps none.

    Raises:
        asyncpg.UniqueViolationError: Another create with this id was committed meanwhile (`tasks_pkey`).
    """
    if is_distributed(db):
        async with in_transaction(db):
            return await task_steps.insert(db, owner_id=owner_id, max_tasks=max_tasks, task=task, origin=origin)
    row = await db.fetchrow(INSERT, owner_id, max_tasks, *task, *(origin or NO_ORIGIN))
    return Inserted(row[0], TaskRow(*row[1:])) if row else None


_CHANGE_NOTED = f""", noted AS (
    INSERT INTO task_changes ({change_columns})
    SELECT :owner_id, changed.version, changed.id, changed.updated_at, :operation, false,
        :by_actor::text, :by_source, :by_request, old.version, {content_of("old")}
    FROM changed, old WHERE :by_source::text IS NOT NULL
)"""
# An audited change and its line in the audit log are one statement, so neither is there without the other.
_AUDITED = """, audited AS (
    INSERT INTO audit_log (action, actor_id, request_id, detail, address, subject_id)
    SELECT :action, :actor_id, :request_id, :detail, :address, :owner_id FROM {change}
)"""

_UPDATE_PARAMETERS = (*UPDATE_PARAMETERS, "operation", *ORIGIN_PARAMETERS)
UPDATE = number(task_update.format(more=_CHANGE_NOTED), *_UPDATE_PARAMETERS)
UPDATE_AUDITED = number(
    task_update.format(more=_CHANGE_NOTED + _AUDITED.format(change="changed")),
    *_UPDATE_PARAMETERS,
    *AuditEntry._fields,
)


async def update(
    db: Connection,
    *,
    owner_id: str,
    task_id: UUID,
    changes: Changes,
    if_versions: Collection[int] | None = None,
    audit: AuditEntry | None = None,
    operation: str = "update",
    origin: Origin | None = None,
) -> TaskRow | None:
    """Apply the changes and return the task, or None if it is not there. Without a difference it keeps its version.

    Args:
        if_versions: The versions that the task may have; None for any.
        audit: Recorded in the audit log if the task changes.
        operation: `update` or `complete`, for the history.
        origin: The origin of the change, for the history; None keeps none.

    Raises:
        PreconditionFailed: The task has another version.
    """
    row: Any
    if getattr(db, "is_distributed", False):  # as `is_distributed`, without a call on the hot path
        async with in_transaction(db):
            row, has_changed = await task_steps.update(
                db, owner_id=owner_id, task_id=task_id, changes=changes, if_versions=if_versions,
                operation=operation, origin=origin,
            )  # fmt: skip
            if has_changed and audit is not None:
                await audit_log.insert(db, audit, subject_id=owner_id)
    else:
        values = (owner_id, task_id, *changes, if_versions, operation, *(origin or NO_ORIGIN))
        row = await (db.fetchrow(UPDATE, *values) if audit is None else db.fetchrow(UPDATE_AUDITED, *values, *audit))
    if row is None:
        return None
    version_matches, *columns = row
    task = TaskRow(*columns)
    if not version_matches:
        raise PreconditionFailed(task.version)
    return task


_DELETION_NOTED = f""", noted AS (
    INSERT INTO task_changes ({change_columns})
    SELECT :owner_id, raised.version, :task_id, clock_timestamp(), 'delete', true,
        :by_actor::text, :by_source, :by_request, kept.version, {content_of("kept")}
    FROM raised LEFT JOIN old AS kept ON :by_source::text IS NOT NULL
)"""
_DELETION_PARAMETERS = (*DELETION_PARAMETERS, *ORIGIN_PARAMETERS)
DELETE = number(task_deletion.format(more=_DELETION_NOTED), *_DELETION_PARAMETERS)
DELETE_AUDITED = number(
    task_deletion.format(more=_DELETION_NOTED + _AUDITED.format(change="deleted")),
    *_DELETION_PARAMETERS,
    *AuditEntry._fields,
)


async def delete(
    db: Connection,
    *,
    owner_id: str,
    task_id: UUID,
    if_versions: Collection[int] | None = None,
    audit: AuditEntry | None = None,
    origin: Origin | None = None,
) -> int | None:
    """Delete a task; return the owner's version after it, or None if the task is not there. The owner's deletions of
    100,000 versions ago go, however young, so that no user fills the disk.

    The arguments and the error are those of `update`. Without an `origin` only the fact is kept, for delta sync.
    """
    row: Any  # the owner's version after it, None if the task has another one than it may have; the task
    if is_distributed(db):
        async with in_transaction(db):
            row = await task_steps.delete(
                db, owner_id=owner_id, task_id=task_id, if_versions=if_versions, origin=origin
            )
            if row is not None and row[0] is not None and audit is not None:
                await audit_log.insert(db, audit, subject_id=owner_id)
    else:
        values = (owner_id, task_id, if_versions, *(origin or NO_ORIGIN))
        row = await (db.fetchrow(DELETE, *values) if audit is None else db.fetchrow(DELETE_AUDITED, *values, *audit))
    if row is None:
        return None
    version: int | None = row[0]
    if version is None:
        raise PreconditionFailed(TaskRow(*row[1:]).version)
    return version


SELECT_OWNERS = "SELECT user_id FROM tasks WHERE id = $1 LIMIT 10"


async def select_owners(db: Connection, *, task_id: UUID) -> list[str]:
    """Return the users (ten at most) with a task of this id; clients choose ids, so it may be several."""
    return [row[0] for row in await db.fetch(SELECT_OWNERS, task_id)]
