"""`idempotency_keys`: the first answer to each request that came with a key, kept for 24 hours."""

from todo_service.connect import Connection

_EXPIRED = "created_at < statement_timestamp() - interval '24 hours'"

COUNT_EXPIRED = f"SELECT count(user_id) FROM idempotency_keys WHERE {_EXPIRED}"


async def count_expired(db: Connection) -> int:
    """How many are older than that."""
    count: int = await db.fetchval(COUNT_EXPIRED)
    return count


DELETE_EXPIRED = f"""
WITH expired AS MATERIALIZED (
    SELECT user_id, key FROM idempotency_keys WHERE {_EXPIRED} ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM idempotency_keys AS known USING expired
    WHERE known.user_id = expired.user_id AND known.key = expired.key
    RETURNING 1
)
SELECT count(*) FROM gone"""


async def delete_expired(db: Connection, *, at_most: int) -> int:
    """Delete some of them, the oldest first, passing over those somebody else is at; returns how many."""
    count: int = await db.fetchval(DELETE_EXPIRED, at_most)
    return count
