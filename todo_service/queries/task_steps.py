"""Changes of a task where the tables are spread over several servers, by statements of one shard each.

One that inserts rows which another has returned would be carried out by the coordinator, at four times the cost.
"""

from collections.abc import Collection
from uuid import UUID

from asyncpg import Record

from todo_service.postgres.connection import Connection
from todo_service.queries.statements import number
from todo_service.queries.task_changes import CONTENT, NO_ORIGIN, Origin, change_columns
from todo_service.queries.task_rows import TASK_COLUMNS, Changes, Inserted, NewTask, TaskRow

# The lock makes the answer wait for a synchronous standby, as the write that it repeats does.
existing_task = f"SELECT {TASK_COLUMNS} FROM tasks WHERE user_id = :owner_id AND id = :id FOR KEY SHARE"

RAISE_CLOCK = """
UPDATE task_clocks SET version = version + 1, task_count = task_count + 1
WHERE user_id = $1 AND task_count < $2
RETURNING version"""
INSERT_ROW = number(
    f"""
INSERT INTO tasks ({TASK_COLUMNS}) VALUES (
    :id, :owner_id, :title, :description, :status::text, :priority, :due_at, :due_on, :tags,
    statement_timestamp(), statement_timestamp(),
    CASE WHEN :status = 'COMPLETED' THEN statement_timestamp() END, :version
)
ON CONFLICT (id, user_id) DO NOTHING
RETURNING {TASK_COLUMNS}""",
    "owner_id", "version", *NewTask._fields,
)  # fmt: skip
LOWER_CLOCK = "UPDATE task_clocks SET version = version - 1, task_count = task_count - 1 WHERE user_id = $1"
SELECT_EXISTING = number(existing_task, "owner_id", "id")


_PLACES = ", ".join(f"${place}" for place in range(4, 10 + len(CONTENT)))
INSERT_CHANGE = f"""
INSERT INTO task_changes ({change_columns}) VALUES ($1, $2, $3, statement_timestamp(), {_PLACES})"""


async def _insert_change(
    db: Connection,
    owner_id: str,
    version: int,
    task_id: UUID,
    operation: str,
    origin: Origin | tuple[None, None, None],
    before: TaskRow | None,
) -> None:
    content = (getattr(before, name, None) for name in ("version", *CONTENT))
    await db.execute(INSERT_CHANGE, owner_id, version, task_id, operation, operation == "delete", *origin, *content)


async def insert(
    db: Connection, *, owner_id: str, max_tasks: int, task: NewTask, origin: Origin | None
) -> Inserted | None:
    """Create a task as `tasks.insert` does. Needs a transaction."""
    version = await db.fetchval(RAISE_CLOCK, owner_id, max_tasks)
    if version is not None:
        if row := await db.fetchrow(INSERT_ROW, owner_id, version, *task):
            if origin is not None:
                await _insert_change(db, owner_id, version, task.id, "create", origin, None)
            return Inserted(True, TaskRow(*row))
        await db.execute(LOWER_CLOCK, owner_id)
    row = await db.fetchrow(SELECT_EXISTING, owner_id, task.id)
    return Inserted(False, TaskRow(*row)) if row else None


UPDATE_PARAMETERS = ("owner_id", "task_id", *Changes._fields, "if_versions")
# `old` is the task as the last committed change left it: both rows are locked before it is read, whatever the
# snapshot of the statement says. The comparison therefore uses `old`, never the snapshot's row `task`.
locked_task = f"""
WITH clock AS MATERIALIZED (
    SELECT version FROM task_clocks WHERE user_id = :owner_id FOR UPDATE
), old AS MATERIALIZED (
    SELECT {TASK_COLUMNS.of("task")} FROM clock, tasks AS task
    WHERE task.user_id = :owner_id AND task.id = :task_id FOR UPDATE OF task
)"""
task_update = f"""{locked_task}, new AS MATERIALIZED (
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
){{more}}
SELECT true, {TASK_COLUMNS} FROM changed
UNION ALL
SELECT :if_versions IS NULL OR version = ANY (:if_versions), {TASK_COLUMNS} FROM old
WHERE NOT EXISTS (SELECT FROM changed)"""
UPDATE = number(task_update.format(more=""), *UPDATE_PARAMETERS)
SELECT_LOCKED = number(f"{locked_task} SELECT {TASK_COLUMNS} FROM old", "owner_id", "task_id")


async def update(
    db: Connection,
    *,
    owner_id: str,
    task_id: UUID,
    changes: Changes,
    if_versions: Collection[int] | None,
    operation: str,
    origin: Origin | None,
) -> tuple[Record | None, bool]:
    """Update a task as `tasks.update` does. Needs a transaction. Returns its row of UPDATE, and whether it changed."""
    old = await db.fetchrow(SELECT_LOCKED, owner_id, task_id)
    row = await db.fetchrow(UPDATE, owner_id, task_id, *changes, if_versions) if old else None
    if row is None or old is None:
        return None, False
    before, after = TaskRow(*old), TaskRow(*row[1:])
    has_changed = after.version != before.version
    if has_changed and origin is not None:
        await _insert_change(db, owner_id, after.version, task_id, operation, origin, before)
    return row, has_changed


DELETION_PARAMETERS = ("owner_id", "task_id", "if_versions")
task_deletion = f"""{locked_task}, deleted AS (
    DELETE FROM tasks AS task USING old
    WHERE task.user_id = :owner_id AND task.id = :task_id
        AND (:if_versions::bigint[] IS NULL OR old.version = ANY (:if_versions))
    RETURNING task.id
), stale AS MATERIALIZED (
    SELECT deletion.version FROM clock, task_changes AS deletion
    WHERE deletion.user_id = :owner_id AND deletion.deletes AND deletion.version < clock.version - 100000
    ORDER BY deletion.version LIMIT 1000
), raised AS (
    UPDATE task_clocks AS clock SET version = clock.version + 1, task_count = task_count - 1, sync_floor = greatest(
        sync_floor, (SELECT max(version) FROM stale)
    ) FROM deleted WHERE clock.user_id = :owner_id
    RETURNING clock.version
), forgotten AS (
    DELETE FROM task_changes AS deletion USING stale, raised
    WHERE deletion.user_id = :owner_id AND deletion.version = stale.version
){{more}}
SELECT raised.version, {TASK_COLUMNS.of("old")} FROM old LEFT JOIN raised ON true"""
DELETE = number(task_deletion.format(more=""), *DELETION_PARAMETERS)


async def delete(
    db: Connection, *, owner_id: str, task_id: UUID, if_versions: Collection[int] | None, origin: Origin | None
) -> Record | None:
    """Delete a task as `tasks.delete` does. Needs a transaction. Returns its row of DELETE."""
    row = await db.fetchrow(DELETE, owner_id, task_id, if_versions)
    if row is not None and row[0] is not None:
        before = TaskRow(*row[1:]) if origin else None
        await _insert_change(db, owner_id, row[0], task_id, "delete", origin or NO_ORIGIN, before)
    return row
