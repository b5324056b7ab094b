"""`idempotency_keys`: answers of requests with an `Idempotency-Key`, for 24 hours.

A row is created by the transaction of the change, so there is an answer if and only if there is a change. A repeated
request waits on the row until that transaction ends.
"""

from dataclasses import dataclass

from todo_service.postgres.connection import Connection, is_distributed
from todo_service.queries.expiry import delete_up_to_moment, up_to_moment

_EXPIRED = "kept.created_at < statement_timestamp() - interval '24 hours'"
_REPLACED = "excluded.created_at - kept.created_at > interval '24 hours'"


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer: `headers` as JSON, `body` as bytes."""

    status: int
    headers: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The contents of a key: the fingerprint of its first request, and its answer, or None if this is the first
    request.
    """

    fingerprint: bytes
    answer: Answer | None


_OR_FIND = f"""
ON CONFLICT (user_id, key) DO UPDATE SET
    fingerprint = CASE WHEN {_REPLACED} THEN excluded.fingerprint ELSE kept.fingerprint END,
    created_at = CASE WHEN {_REPLACED} THEN excluded.created_at ELSE kept.created_at END,
    status = CASE WHEN {_REPLACED} THEN NULL ELSE kept.status END,
    headers = CASE WHEN {_REPLACED} THEN NULL ELSE kept.headers END,
    body = CASE WHEN {_REPLACED} THEN NULL ELSE kept.body END
RETURNING fingerprint, status, headers, body"""

# The user's row is locked before the key's, as in a deletion, so that the two never deadlock: an expired key is reused
# without a check of its foreign key.
CLAIM = f"""
INSERT INTO idempotency_keys AS kept (user_id, key, fingerprint, created_at)
SELECT id, $2, $3, statement_timestamp() FROM users WHERE id = $1 FOR KEY SHARE
{_OR_FIND}"""

# The same by two statements, each of one shard.
LOCK_USER = "SELECT true FROM users WHERE id = $1 FOR KEY SHARE"
CLAIM_ROW = f"""
INSERT INTO idempotency_keys AS kept (user_id, key, fingerprint, created_at)
VALUES ($1, $2, $3, statement_timestamp())
{_OR_FIND}"""


async def claim(db: Connection, *, user_id: str, key: str, fingerprint: bytes) -> Claim | None:
    """Claim a key, or return its contents; None if there is no such user. Needs the transaction of the change."""
    if not is_distributed(db):
        row = await db.fetchrow(CLAIM, user_id, key, fingerprint)
    elif await db.fetchval(LOCK_USER, user_id):
        row = await db.fetchrow(CLAIM_ROW, user_id, key, fingerprint)
    else:
        row = None
    if row is None:
        return None
    first_fingerprint, status, headers, body = row
    return Claim(first_fingerprint, None if status is None else Answer(status, headers, body))


STORE = f"""
UPDATE idempotency_keys SET status = $3, headers = $4, body = $5
WHERE user_id = $1 AND key = $2 AND $6::bigint >= octet_length($5::bytea) + (
    SELECT coalesce(sum(octet_length(body)), 0) FROM idempotency_keys AS kept WHERE user_id = $1 AND NOT {_EXPIRED}
)
RETURNING true"""


async def store(db: Connection, *, user_id: str, key: str, answer: Answer, at_most: int) -> bool:
    """Store the answer under the key that was claimed in this transaction.

    False if the user's answers would take more than `at_most` bytes together.
    """
    return await db.fetchval(STORE, user_id, key, answer.status, answer.headers, answer.body, at_most) is True


RELEASE = "DELETE FROM idempotency_keys WHERE user_id = $1 AND key = $2"


async def release(db: Connection, *, user_id: str, key: str) -> None:
    """Give back the key that was claimed in this transaction."""
    await db.execute(RELEASE, user_id, key)


COUNT_EXPIRED = f"SELECT count(user_id) FROM idempotency_keys AS kept WHERE {_EXPIRED}"


async def count_expired(db: Connection) -> int:
    """Return the number of expired keys."""
    count: int = await db.fetchval(COUNT_EXPIRED)
    return count


DELETE_EXPIRED = f"""
WITH expired AS MATERIALIZED (
    SELECT user_id, key FROM idempotency_keys AS kept
    WHERE {_EXPIRED} ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM idempotency_keys AS kept USING expired
    WHERE kept.user_id = expired.user_id AND kept.key = expired.key
    RETURNING 1
)
SELECT count(*) FROM gone"""
UP_TO_MOMENT = up_to_moment("idempotency_keys", "created_at", _EXPIRED)


async def delete_expired(db: Connection, *, at_most: int) -> int:
    """Delete the oldest expired keys, skipping locked ones, and return their number."""
    if is_distributed(db):
        return await delete_up_to_moment(db, UP_TO_MOMENT, at_most=at_most)
    count: int = await db.fetchval(DELETE_EXPIRED, at_most)
    return count
