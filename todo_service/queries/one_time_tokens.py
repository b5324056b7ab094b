"""`one_time_tokens`: the links that were sent and not used."""

from typing import NamedTuple

from todo_service.postgres.connection import Connection, is_distributed
from todo_service.queries.expiry import delete_up_to_moment, up_to_moment

COUNT = """
SELECT count(*) FROM one_time_tokens
WHERE user_id = $1 AND purpose = $2 AND basis = $3 AND expires_at > statement_timestamp() + $4 * interval '1 s'"""
INSERT = """
INSERT INTO one_time_tokens (user_id, token_hash, purpose, basis, new_email, expires_at)
VALUES ($1, $2, $3, $4, $5, statement_timestamp() + $6 * interval '1 s')"""


async def count(db: Connection, *, user_id: str, purpose: str, basis: bytes, seconds_left: int) -> int:
    """Return the number of a user's links for a purpose and basis that are valid for longer than `seconds_left`."""
    number: int = await db.fetchval(COUNT, user_id, purpose, basis, seconds_left)
    return number


async def insert(
    db: Connection,
    *,
    user_id: str,
    token_hash: bytes,
    purpose: str,
    basis: bytes,
    seconds: int,
    new_email: str | None = None,
) -> None:
    """Store a link that expires in `seconds`."""
    await db.execute(INSERT, user_id, token_hash, purpose, basis, new_email, seconds)


SELECT_USER = "SELECT user_id FROM one_time_tokens WHERE token_hash = $1 AND purpose = $2"


async def select_user(db: Connection, *, token_hash: bytes, purpose: str) -> str | None:
    """Return the user of a link; on a cluster this asks every server."""
    user_id: str | None = await db.fetchval(SELECT_USER, token_hash, purpose)
    return user_id


class UsedToken(NamedTuple):
    """A used link: the state of the account at its creation, and the address that it confirms."""

    basis: bytes
    new_email: str | None


DELETE = """
DELETE FROM one_time_tokens WHERE user_id = $1 AND token_hash = $2 AND expires_at > statement_timestamp()
RETURNING basis, new_email"""


async def delete(db: Connection, *, user_id: str, token_hash: bytes) -> UsedToken | None:
    """Use a link: of several at once one gets it; None if it is used or expired."""
    row = await db.fetchrow(DELETE, user_id, token_hash)
    return UsedToken(*row) if row else None


DELETE_OF_USER = "DELETE FROM one_time_tokens WHERE user_id = $1"


async def delete_of_user(db: Connection, *, user_id: str) -> None:
    """Void every link of a user."""
    await db.execute(DELETE_OF_USER, user_id)


DELETE_ALL = "DELETE FROM one_time_tokens WHERE user_id IS NOT NULL"


async def delete_all(db: Connection) -> None:
    """Void every link of every user."""
    await db.execute(DELETE_ALL)


_EXPIRED = "expires_at < statement_timestamp()"
COUNT_EXPIRED = f"SELECT count(user_id) FROM one_time_tokens WHERE {_EXPIRED}"


async def count_expired(db: Connection) -> int:
    """Return the number of expired links."""
    number: int = await db.fetchval(COUNT_EXPIRED)
    return number


DELETE_EXPIRED = f"""
WITH expired AS MATERIALIZED (
    SELECT user_id, token_hash FROM one_time_tokens WHERE {_EXPIRED} ORDER BY expires_at LIMIT $1
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM one_time_tokens AS token USING expired
    WHERE token.user_id = expired.user_id AND token.token_hash = expired.token_hash
    RETURNING 1
)
SELECT count(*) FROM gone"""
UP_TO_MOMENT = up_to_moment("one_time_tokens", "expires_at", _EXPIRED)


async def delete_expired(db: Connection, *, at_most: int) -> int:
    """Delete the oldest of them, skipping locked ones, and return their number."""
    if is_distributed(db):
        return await delete_up_to_moment(db, UP_TO_MOMENT, at_most=at_most)
    number: int = await db.fetchval(DELETE_EXPIRED, at_most)
    return number
