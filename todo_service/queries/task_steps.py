"""Creating and deleting a task where the tables are spread over several servers, by statements of one shard each.

One that inserts what another has returned would be carried out by the coordinator, at four times the cost.
"""

from collections.abc import Collection
from uuid import UUID

from todo_service.postgres.connection import Connection
from todo_service.queries.statements import number
from todo_service.queries.task_rows import TASK_COLUMNS, Inserted, NewTask, TaskRow

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


async def insert(db: Connection, *, owner_id: str, max_tasks: int, task: NewTask) -> Inserted | None:
    """Create a task as `tasks.insert` does. Needs a transaction."""
    version = await db.fetchval(RAISE_CLOCK, owner_id, max_tasks)
    if version is not None:
        if row := await db.fetchrow(INSERT_ROW, owner_id, version, *task):
            return Inserted(True, TaskRow(*row))
        await db.execute(LOWER_CLOCK, owner_id)
    row = await db.fetchrow(SELECT_EXISTING, owner_id, task.id)
    return Inserted(False, TaskRow(*row)) if row else None


DELETION_PARAMETERS = ("owner_id", "task_id", "if_versions")
task_deletion = """
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
), stale AS MATERIALIZED (
    SELECT stone.version FROM clock, task_tombstones AS stone
    WHERE stone.user_id = :owner_id AND stone.version < clock.version - 100000 ORDER BY stone.version LIMIT 1000
), raised AS (
    UPDATE task_clocks AS clock SET version = clock.version + 1, task_count = task_count - 1, sync_floor = greatest(
        sync_floor, (SELECT max(version) FROM stale)
    ) FROM deleted WHERE clock.user_id = :owner_id
    RETURNING clock.version
), forgotten AS (
    DELETE FROM task_tombstones AS stone USING stale, raised
    WHERE stone.user_id = :owner_id AND stone.version = stale.version
){more}
SELECT old.version, raised.version FROM old LEFT JOIN raised ON true"""
DELETE = number(task_deletion.format(more=""), *DELETION_PARAMETERS)
INSERT_TOMBSTONE = """
INSERT INTO task_tombstones (user_id, version, id, deleted_at) VALUES ($1, $2, $3, statement_timestamp())"""


async def delete(
    db: Connection, *, owner_id: str, task_id: UUID, if_versions: Collection[int] | None
) -> tuple[int, int | None] | None:
    """Delete a task as `tasks.delete` does. Needs a transaction. Returns its version and the owner's version after it,
    None for this if the task has another version; None for both if it is not there.
    """
    row = await db.fetchrow(DELETE, owner_id, task_id, if_versions)
    if row is None:
        return None
    if row[1] is not None:
        await db.execute(INSERT_TOMBSTONE, owner_id, row[1], task_id)
    return row[0], row[1]
