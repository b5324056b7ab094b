"""`refresh_tokens`: sessions. Rows of one `family_id` descend from one sign-in and end together at `expires_at`.

Every start, rotation and end of a session locks the user's row first, so that an end misses no successor that is being
created at that moment.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from todo_service.postgres.connection import Connection, in_transaction, is_distributed
from todo_service.queries import revocations
from todo_service.queries.expiry import delete_up_to_moment, up_to_moment
from todo_service.queries.users import USER_COLUMNS, UserRow

LOCK_GENERATION = "SELECT true FROM users WHERE id = $1 AND generation = $2 AND is_active FOR SHARE"
INSERT = """
INSERT INTO refresh_tokens (token_hash, user_id, family_id, expires_at, user_agent)
VALUES ($1, $2, $3, statement_timestamp() + $4 * interval '1 s', $5)"""


async def insert(
    db: Connection,
    *,
    token_hash: bytes,
    user_id: str,
    family_id: UUID,
    lifetime: int,
    generation: int,
    user_agent: str | None = None,
) -> bool:
    """Start a session that ends `lifetime` seconds from now; False if the user's sessions were ended meanwhile. Needs a
    transaction.
    """
    if not await db.fetchval(LOCK_GENERATION, user_id, generation):
        return False
    await db.execute(INSERT, token_hash, user_id, family_id, lifetime, user_agent)
    return True


@dataclass(frozen=True, slots=True)
class Rotation:
    """The result of presenting a refresh token.

    Attributes:
        successor: The hash of the token to return, or None if the presented one was used too long ago: the family must
            end.
        user: The user as read by the rotation.
    """

    family_id: UUID
    successor: bytes | None
    user: UserRow


ROTATE = f"""
WITH presented AS MATERIALIZED (
    SELECT token.family_id, token.expires_at, token.used_at, {USER_COLUMNS.of("users")}
    FROM refresh_tokens AS token JOIN users ON users.id = token.user_id
    WHERE token.token_hash = $1 AND token.user_id = coalesce($5, token.user_id)
        AND token.expires_at > clock_timestamp() AND users.is_active
    FOR NO KEY UPDATE OF users, token
), used AS (
    UPDATE refresh_tokens AS token SET used_at = clock_timestamp()
    FROM presented WHERE token.token_hash = $1 AND token.user_id = presented.id AND presented.used_at IS NULL
), successor AS (
    INSERT INTO refresh_tokens (token_hash, user_id, family_id, expires_at)
    SELECT $2, id, family_id, expires_at FROM presented WHERE used_at IS NULL
)
SELECT
    family_id,
    CASE
        WHEN used_at IS NULL THEN $2
        WHEN used_at > clock_timestamp() - $4 * interval '1 s' THEN
            coalesce((SELECT token_hash FROM refresh_tokens WHERE token_hash = ANY ($3) LIMIT 1), $2)
    END AS successor,
    {USER_COLUMNS.of("presented")}
FROM presented"""


async def rotate(
    db: Connection,
    *,
    user_id: str | None,
    token_hash: bytes,
    successor: bytes,
    possible_successors: list[bytes],
    reuse_seconds: float,
) -> Rotation | None:
    """Use a token.

    The first use creates `successor`; another one within `reuse_seconds` returns the one that was created.

    None if the token is unknown, expired, ended, or belongs to an inactive user.

    Args:
        user_id: The token is this user's; None for any, which only one server can find.
        possible_successors: The hashes that the first use may have created, one for each key of the server.
    """
    if user_id is not None and is_distributed(db):
        async with in_transaction(db):
            return await _rotate_by_steps(db, user_id, token_hash, successor, possible_successors, reuse_seconds)
    row = await db.fetchrow(ROTATE, token_hash, successor, possible_successors, reuse_seconds, user_id)
    if row is None:
        return None
    family_id, successor_hash, *user = row
    return Rotation(family_id, successor_hash, UserRow(*user))


# The same by steps, each a statement of one shard.
LOCK_ACTIVE = f"SELECT statement_timestamp(), {USER_COLUMNS} FROM users WHERE id = $1 AND is_active FOR NO KEY UPDATE"
UPDATE_USED = """
UPDATE refresh_tokens SET used_at = coalesce(used_at, $3)
WHERE token_hash = $1 AND user_id = $2 AND expires_at > $3
RETURNING family_id, expires_at, used_at"""
INSERT_SUCCESSOR = """
INSERT INTO refresh_tokens (token_hash, user_id, family_id, expires_at) VALUES ($1, $2, $3, $4)"""
SELECT_SUCCESSOR = "SELECT token_hash FROM refresh_tokens WHERE token_hash = ANY ($1::bytea[]) AND user_id = $2 LIMIT 1"


async def _rotate_by_steps(
    db: Connection,
    user_id: str,
    token_hash: bytes,
    successor: bytes,
    possible_successors: list[bytes],
    reuse_seconds: float,
) -> Rotation | None:
    found = await db.fetchrow(LOCK_ACTIVE, user_id)
    if found is None:
        return None
    moment, *columns = found
    row = await db.fetchrow(UPDATE_USED, token_hash, user_id, moment)
    if row is None:
        return None
    (family_id, expires_at, used_at), user = row, UserRow(*columns)
    if used_at == moment:
        await db.execute(INSERT_SUCCESSOR, successor, user_id, family_id, expires_at)
        return Rotation(family_id, successor, user)
    if used_at <= moment - timedelta(seconds=reuse_seconds):
        return Rotation(family_id, None, user)
    kept = await db.fetchval(SELECT_SUCCESSOR, possible_successors, user_id)
    return Rotation(family_id, kept or successor, user)


LOCK_USER = "SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE"
DELETE_FAMILY = "DELETE FROM refresh_tokens WHERE user_id = $1 AND family_id = $2 RETURNING true"
DELETE_OTHERS = "DELETE FROM refresh_tokens WHERE user_id = $1 AND family_id IS DISTINCT FROM $2"


async def delete_family(db: Connection, *, user_id: str, family_id: UUID) -> bool:
    """End one session with its access tokens; False if the user has none with this id. Needs a transaction."""
    await db.execute(LOCK_USER, user_id)
    is_there = bool(await db.fetch(DELETE_FAMILY, user_id, family_id))
    if is_there:
        await revocations.insert_ended(db, user_id=user_id, session_id=family_id)
    return is_there


class SessionRow(NamedTuple):
    """One session. It was used last when its tokens were refreshed."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str | None


SELECT_SESSIONS = """
SELECT family_id, min(created_at), max(created_at), max(expires_at), max(user_agent)
FROM refresh_tokens WHERE user_id = $1 AND expires_at > statement_timestamp()
GROUP BY family_id ORDER BY 3 DESC, family_id LIMIT 1000"""


async def select_sessions(db: Connection, *, user_id: str) -> list[SessionRow]:
    """Return a user's sessions, the one used last first."""
    return [SessionRow(*row) for row in await db.fetch(SELECT_SESSIONS, user_id)]


async def delete_others(db: Connection, *, user_id: str, family_id: UUID | None) -> None:
    """End every session but this one (None: all). Needs a transaction, in which the user's row was changed."""
    await db.execute(DELETE_OTHERS, user_id, family_id)


DELETE_ALL = "DELETE FROM refresh_tokens WHERE user_id IS NOT NULL"


async def delete_all(db: Connection) -> None:
    """End every session of every user; their access tokens need a new epoch besides."""
    await db.execute(DELETE_ALL)


SELECT_FAMILY = "SELECT family_id FROM refresh_tokens WHERE token_hash = $1 AND user_id = $2"
SELECT_CURRENT_FAMILY = f"""{SELECT_FAMILY} AND expires_at > clock_timestamp()
    AND (used_at IS NULL OR used_at > clock_timestamp() - $3 * interval '1 s')"""


async def select_family(
    db: Connection, *, token_hash: bytes, user_id: str, reuse_seconds: float | None = None
) -> UUID | None:
    """Return the session of a user's refresh token, or None if there is no such token.

    Args:
        reuse_seconds: Only a token that holds, or that was used within this time.
    """
    family_id: UUID | None
    if reuse_seconds is None:
        family_id = await db.fetchval(SELECT_FAMILY, token_hash, user_id)
    else:
        family_id = await db.fetchval(SELECT_CURRENT_FAMILY, token_hash, user_id, reuse_seconds)
    return family_id


SELECT_USER = "SELECT user_id FROM refresh_tokens WHERE token_hash = $1"


async def select_user(db: Connection, *, token_hash: bytes) -> str | None:
    """Return the user of a refresh token that does not name its user; on a cluster, of one from before."""
    user_id: str | None = await db.fetchval(SELECT_USER, token_hash)
    return user_id


COUNT_EXPIRED = "SELECT count(token_hash) FROM refresh_tokens WHERE expires_at < statement_timestamp()"


async def count_expired(db: Connection) -> int:
    """Return the number of expired tokens."""
    count: int = await db.fetchval(COUNT_EXPIRED)
    return count


DELETE_EXPIRED = """
WITH expired AS MATERIALIZED (
    SELECT token_hash FROM refresh_tokens WHERE expires_at < statement_timestamp()
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM refresh_tokens AS token USING expired WHERE token.token_hash = expired.token_hash RETURNING 1
)
SELECT count(*) FROM gone"""
UP_TO_MOMENT = up_to_moment("refresh_tokens", "expires_at", "expires_at < statement_timestamp()")


async def delete_expired(db: Connection, *, at_most: int) -> int:
    """Delete the oldest expired tokens, skipping locked ones, and return their number."""
    if is_distributed(db):
        return await delete_up_to_moment(db, UP_TO_MOMENT, at_most=at_most)
    count: int = await db.fetchval(DELETE_EXPIRED, at_most)
    return count
