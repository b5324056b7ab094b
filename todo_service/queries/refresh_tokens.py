"""`refresh_tokens`: sessions. Rows of one `family_id` descend from one sign-in and end together at `expires_at`.

Every start, rotation and end of a session locks the user's row first, so that an end misses no successor that is being
created at that moment.
"""

from dataclasses import dataclass
from uuid import UUID

from todo_service.postgres.connection import Connection
from todo_service.queries.users import USER_COLUMNS, UserRow

INSERT = """
INSERT INTO refresh_tokens (token_hash, user_id, family_id, expires_at)
SELECT $1, id, $3, clock_timestamp() + $4 * interval '1 s'
FROM users WHERE id = $2 AND generation = $5 AND is_active
FOR SHARE
RETURNING true"""


async def insert(
    db: Connection, *, token_hash: bytes, user_id: str, family_id: UUID, lifetime: int, generation: int
) -> bool:
    """Start a session that ends `lifetime` seconds from now; False if the user's sessions were ended meanwhile."""
    return await db.fetchval(INSERT, token_hash, user_id, family_id, lifetime, generation) is True


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
    WHERE token.token_hash = $1 AND token.expires_at > clock_timestamp() AND users.is_active
    FOR NO KEY UPDATE OF users, token
), used AS (
    UPDATE refresh_tokens AS token SET used_at = clock_timestamp()
    FROM presented WHERE token.token_hash = $1 AND presented.used_at IS NULL
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
    db: Connection, *, token_hash: bytes, successor: bytes, possible_successors: list[bytes], reuse_seconds: float
) -> Rotation | None:
    """Use a token.

    The first use creates `successor`; another one within `reuse_seconds` returns the one that was created.

    None if the token is unknown, expired, ended, or belongs to an inactive user.

    Args:
        possible_successors: The hashes that the first use may have created, one for each key of the server.
    """
    row = await db.fetchrow(ROTATE, token_hash, successor, possible_successors, reuse_seconds)
    if row is None:
        return None
    family_id, successor_hash, *user = row
    return Rotation(family_id, successor_hash, UserRow(*user))


LOCK_USER = "SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE"
DELETE_FAMILY = "DELETE FROM refresh_tokens WHERE user_id = $1 AND family_id = $2"
DELETE_OTHERS = "DELETE FROM refresh_tokens WHERE user_id = $1 AND family_id IS DISTINCT FROM $2"


async def delete_family(db: Connection, *, user_id: str, family_id: UUID) -> None:
    """End one session. Needs a transaction."""
    await db.execute(LOCK_USER, user_id)
    await db.execute(DELETE_FAMILY, user_id, family_id)


async def delete_others(db: Connection, *, user_id: str, family_id: UUID | None) -> None:
    """End every session but this one (None: all). Needs a transaction, in which the user's row was changed."""
    await db.execute(DELETE_OTHERS, user_id, family_id)


SELECT_FAMILY = "SELECT user_id, family_id FROM refresh_tokens WHERE token_hash = $1"
SELECT_CURRENT_FAMILY = f"""{SELECT_FAMILY} AND expires_at > clock_timestamp()
    AND (used_at IS NULL OR used_at > clock_timestamp() - $2 * interval '1 s')"""


async def select_family(
    db: Connection, *, token_hash: bytes, reuse_seconds: float | None = None
) -> tuple[str, UUID] | None:
    """Return the user and the session of a refresh token, or None if there is no such token.

    Args:
        reuse_seconds: Only a token that holds, or that was used within this time.
    """
    if reuse_seconds is None:
        row = await db.fetchrow(SELECT_FAMILY, token_hash)
    else:
        row = await db.fetchrow(SELECT_CURRENT_FAMILY, token_hash, reuse_seconds)
    return (row["user_id"], row["family_id"]) if row else None


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


async def delete_expired(db: Connection, *, at_most: int) -> int:
    """Delete the oldest expired tokens, skipping locked ones, and return their number."""
    count: int = await db.fetchval(DELETE_EXPIRED, at_most)
    return count
