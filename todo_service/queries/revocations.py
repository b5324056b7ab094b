"""`ended_sessions` and `token_epochs`, and the feed that every worker reads: access tokens that ended before expiry."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from todo_service.postgres.connection import Connection, is_distributed
from todo_service.queries.expiry import delete_up_to_moment, up_to_moment


@dataclass(frozen=True, slots=True)
class Revocation:
    """The first valid generation of access tokens; of an inactive account the first one after it."""

    user_id: str
    generation: int
    is_active: bool


class EndedSession(NamedTuple):
    """A session whose access tokens are refused."""

    user_id: str
    session_id: UUID


@dataclass(frozen=True, slots=True)
class Feed:
    """The database's time, the epoch that access tokens must carry, and the revocations since a moment."""

    now: datetime
    epoch: int
    revocations: list[Revocation]
    ended_sessions: list[EndedSession]


SELECT_FEED = """
WITH since AS MATERIALIZED (
    SELECT coalesce($1::timestamptz, statement_timestamp() - $2 * interval '1 s') AS moment
)
SELECT
    statement_timestamp() AS now, coalesce((SELECT epoch FROM token_epochs), 0) AS epoch,
    revoked.user_id, revoked.generation, revoked.is_active, revoked.session_id
FROM (VALUES (1)) AS always LEFT JOIN (
    SELECT id AS user_id, generation, is_active, NULL::uuid AS session_id
    FROM users WHERE revoked_at >= (SELECT moment FROM since)
    UNION ALL
    SELECT subject_id, 2147483647, false, NULL FROM audit_log
    WHERE action = 'account_deleted' AND at >= (SELECT moment FROM since)
    UNION ALL
    SELECT user_id, NULL, NULL, session_id FROM ended_sessions WHERE ended_at >= (SELECT moment FROM since)
) AS revoked ON true"""


async def select_feed(db: Connection, *, since: datetime | None, at_most: float) -> Feed:
    """Return the revocations since a moment of the database's clock.

    Args:
        since: None for the last `at_most` seconds.
    """
    rows = await db.fetch(SELECT_FEED, since, at_most)
    revoked = [row for row in rows if row["generation"] is not None]
    return Feed(
        rows[0]["now"],
        rows[0]["epoch"],
        [Revocation(row["user_id"], row["generation"], row["is_active"]) for row in revoked],
        [EndedSession(row["user_id"], row["session_id"]) for row in rows if row["session_id"] is not None],
    )


INSERT_ENDED = "INSERT INTO ended_sessions (user_id, session_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"


async def insert_ended(db: Connection, *, user_id: str, session_id: UUID) -> None:
    """Refuse the access tokens of a session, or a personal access token, from now on."""
    await db.execute(INSERT_ENDED, user_id, session_id)


UPDATE_EPOCH = """
INSERT INTO token_epochs (epoch) VALUES (1 + floor(random() * (2::double precision ^ 53))::bigint)
ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch"""


async def update_epoch(db: Connection) -> None:
    """Draw a new epoch: every access token of before is refused."""
    await db.execute(UPDATE_EPOCH)


_EXPIRED = "ended_at < statement_timestamp() - interval '2 days'"  # twice the longest lifetime of an access token
COUNT_EXPIRED = f"SELECT count(user_id) FROM ended_sessions WHERE {_EXPIRED}"


async def count_expired(db: Connection) -> int:
    """Return the number of ended sessions that no access token can be of any more."""
    count: int = await db.fetchval(COUNT_EXPIRED)
    return count


DELETE_EXPIRED = f"""
WITH expired AS MATERIALIZED (
    SELECT user_id, session_id FROM ended_sessions WHERE {_EXPIRED} ORDER BY ended_at LIMIT $1 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM ended_sessions AS ended USING expired
    WHERE ended.user_id = expired.user_id AND ended.session_id = expired.session_id
    RETURNING 1
)
SELECT count(*) FROM gone"""
UP_TO_MOMENT = up_to_moment("ended_sessions", "ended_at", _EXPIRED)


async def delete_expired(db: Connection, *, at_most: int) -> int:
    """Delete the oldest of them, skipping locked ones, and return their number."""
    if is_distributed(db):
        return await delete_up_to_moment(db, UP_TO_MOMENT, at_most=at_most)
    count: int = await db.fetchval(DELETE_EXPIRED, at_most)
    return count
