"""`task_tombstones`: deleted tasks, for delta sync. Only `tasks.DELETE` creates them."""

from todo_service.postgres.connection import Connection

_EXPIRED = "deleted_at < statement_timestamp() - interval '30 days'"

COUNT_EXPIRED = f"SELECT count(user_id) FROM task_tombstones WHERE {_EXPIRED}"


async def count_expired(db: Connection) -> int:
    """Return the number of tombstones older than 30 days."""
    count: int = await db.fetchval(COUNT_EXPIRED)
    return count


# A writer of tasks holds the clock and is skipped, so that neither waits for the other. The arrays are for the planner,
# which takes an unknown LIMIT for a tenth of the table. Tombstones are never updated, so a ctid stays valid.
DELETE_EXPIRED = f"""
WITH expired AS MATERIALIZED (
    SELECT tombstone.ctid, tombstone.user_id, tombstone.version
    FROM task_tombstones AS tombstone JOIN task_clocks AS clock ON clock.user_id = tombstone.user_id
    WHERE tombstone.{_EXPIRED}
    ORDER BY tombstone.deleted_at LIMIT $1
    FOR UPDATE OF clock, tombstone SKIP LOCKED
), raised AS (
    UPDATE task_clocks AS clock SET sync_floor = greatest(clock.sync_floor, highest.version)
    FROM (SELECT user_id, max(version) AS version FROM expired GROUP BY user_id) AS highest
    WHERE clock.user_id = highest.user_id AND clock.user_id = ANY (ARRAY (SELECT user_id FROM expired))
), gone AS (
    DELETE FROM task_tombstones WHERE ctid = ANY (ARRAY (SELECT ctid FROM expired)) RETURNING 1
)
SELECT count(*) FROM gone"""


async def delete_expired(db: Connection, *, at_most: int) -> int:
    """Delete the oldest expired tombstones, and raise their users' sync floor to the highest deleted version.

    Users with a write in progress are skipped. Returns the number of deleted tombstones.
    """
    count: int = await db.fetchval(DELETE_EXPIRED, at_most)
    return count
