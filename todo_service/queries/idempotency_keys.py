"""`idempotency_keys`: answers of requests with an `Idempotency-Key`, for 24 hours.

A row is created by the transaction of the change, so there is an answer if and only if there is a change. A repeated
request waits on the row until that transaction ends.
"""

from dataclasses import dataclass

from asyncpg import Record

from todo_service.postgres.connection import Connection

_EXPIRED = "kept.created_at < statement_timestamp() - interval '24 hours'"


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
    fingerprint = CASE WHEN {_EXPIRED} THEN excluded.fingerprint ELSE kept.fingerprint END,
    created_at = CASE WHEN {_EXPIRED} THEN excluded.created_at ELSE kept.created_at END,
    status = CASE WHEN {_EXPIRED} THEN NULL ELSE kept.status END,
    headers = CASE WHEN {_EXPIRED} THEN NULL ELSE kept.headers END,
    body = CASE WHEN {_EXPIRED} THEN NULL ELSE kept.body END
RETURNING fingerprint, status, headers, body"""

# The user's row is locked before the key's, as in a deletion, so that the two never deadlock: an expired key is reused
# without a check of its foreign key.
CLAIM = f"""
INSERT INTO idempotency_keys AS kept (user_id, key, fingerprint, created_at)
SELECT id, $2, $3, statement_timestamp() FROM users WHERE id = $1 FOR KEY SHARE
{_OR_FIND}"""


async def claim(db: Connection, *, user_id: str, key: str, fingerprint: bytes) -> Claim | None:
    """Claim a key, or return its contents; None if there is no such user. Needs the transaction of the change."""
    return _claim(await db.fetchrow(CLAIM, user_id, key, fingerprint))


CLAIM_FIRST = f"""
WITH newcomer AS (
    INSERT INTO users (id, email) VALUES ($1, $4) ON CONFLICT DO NOTHING RETURNING id
), held AS MATERIALIZED (
    SELECT id FROM users WHERE id = $1 FOR KEY SHARE
)
INSERT INTO idempotency_keys AS kept (user_id, key, fingerprint, created_at)
SELECT $1, $2, $3, statement_timestamp()
FROM (SELECT count(*) FROM newcomer) AS made, (SELECT count(*) FROM held) AS here
{_OR_FIND}"""


async def claim_first(db: Connection, *, user_id: str, email: str | None, key: str, fingerprint: bytes) -> Claim | None:
    """Claim a key as `claim` does, for a user without a row: it is created with this email."""
    return _claim(await db.fetchrow(CLAIM_FIRST, user_id, key, fingerprint, email))


def _claim(row: Record | None) -> Claim | None:
    if row is None:
        return None
    fingerprint, status, headers, body = row
    return Claim(fingerprint, None if status is None else Answer(status, headers, body))


STORE = "UPDATE idempotency_keys SET status = $3, headers = $4, body = $5 WHERE user_id = $1 AND key = $2"


async def store(db: Connection, *, user_id: str, key: str, answer: Answer) -> None:
    """Store the answer under the key that was claimed in this transaction."""
    await db.execute(STORE, user_id, key, answer.status, answer.headers, answer.body)


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


async def delete_expired(db: Connection, *, at_most: int) -> int:
    """Delete the oldest expired keys, skipping locked ones, and return their number."""
    count: int = await db.fetchval(DELETE_EXPIRED, at_most)
    return count
