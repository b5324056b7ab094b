"""`task_tombstones`: deleted tasks, for delta sync. Only `tasks.DELETE` creates them."""

from todo_service.postgres.connection import Connection, in_transaction, is_distributed
from todo_service.queries.expiry import up_to_moment

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
    if is_distributed(db):
        return await _delete_by_users(db, at_most)
    count: int = await db.fetchval(DELETE_EXPIRED, at_most)
    return count


# The same user by user, where their rows are spread over several servers.
UP_TO_MOMENT = up_to_moment("task_tombstones", "deleted_at", _EXPIRED)
SELECT_OWNERS = "SELECT user_id, max(version) AS version FROM task_tombstones WHERE deleted_at <= $1 GROUP BY user_id"
RAISE_FLOOR = "UPDATE task_clocks SET sync_floor = greatest(sync_floor, $2) WHERE user_id = $1"
DELETE_OF_OWNER = "DELETE FROM task_tombstones WHERE user_id = $1 AND deleted_at <= $2"


async def _delete_by_users(db: Connection, at_most: int) -> int:
    count, moment = 0, await db.fetchval(UP_TO_MOMENT.find, at_most)
    for owner_id, version in await db.fetch(SELECT_OWNERS, moment) if moment is not None else ():
        async with in_transaction(db):
            await db.execute(RAISE_FLOOR, owner_id, version)
            count += int((await db.execute(DELETE_OF_OWNER, owner_id, moment)).removeprefix("DELETE "))
    return count
