"""`personal_tokens`: the tokens that users make for scripts and agents. An ended one is deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from todo_service.postgres.connection import Connection, is_distributed
from todo_service.queries import revocations
from todo_service.queries.expiry import delete_up_to_moment, up_to_moment
from todo_service.queries.statements import Columns


@dataclass(frozen=True, slots=True)
class PersonalTokenRow:
    """One token, as its owner sees it."""

    id: UUID
    name: str
    scopes: list[str]
    is_strict: bool
    last_four: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


COLUMNS = Columns(PersonalTokenRow)

INSERT = f"""
INSERT INTO personal_tokens (user_id, id, token_hash, name, scopes, is_strict, last_four, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, statement_timestamp() + $8 * interval '1 day')
RETURNING {COLUMNS}"""


async def insert(
    db: Connection,
    *,
    user_id: str,
    token_id: UUID,
    token_hash: bytes,
    name: str,
    scopes: Sequence[str],
    is_strict: bool,
    last_four: str,
    days: int,
) -> PersonalTokenRow:
    """Store a token that expires in `days`."""
    row = await db.fetchrow(INSERT, user_id, token_id, token_hash, name, scopes, is_strict, last_four, days)
    assert row is not None
    return PersonalTokenRow(*row)


COUNT = "SELECT count(*) FROM personal_tokens WHERE user_id = $1 AND expires_at > statement_timestamp()"


async def count(db: Connection, *, user_id: str) -> int:
    """Return the number of a user's tokens that have not expired."""
    number: int = await db.fetchval(COUNT, user_id)
    return number


SELECT_ALL = f"SELECT {COLUMNS} FROM personal_tokens WHERE user_id = $1 ORDER BY created_at DESC, id"


async def select_all(db: Connection, *, user_id: str) -> list[PersonalTokenRow]:
    """Return a user's tokens, newest first, with those that have expired."""
    return [PersonalTokenRow(*row) for row in await db.fetch(SELECT_ALL, user_id)]


class Holder(NamedTuple):
    """A token that was presented: its user, its limits, and whether both still hold."""

    user_id: str
    token_id: UUID
    scopes: list[str]
    is_strict: bool
    expires_at: datetime
    is_expired: bool
    is_active: bool


SELECT_BY_HASH = """
SELECT token.user_id, token.id, token.scopes, token.is_strict, token.expires_at,
    token.expires_at <= statement_timestamp(), users.is_active
FROM personal_tokens AS token JOIN users ON users.id = token.user_id
WHERE token.token_hash = $1"""


async def select_by_hash(db: Connection, *, token_hash: bytes) -> Holder | None:
    """Return the token with this hash, expired or not; on a cluster this asks every server."""
    row = await db.fetchrow(SELECT_BY_HASH, token_hash)
    return Holder(*row) if row else None


DELETE = "DELETE FROM personal_tokens WHERE user_id = $1 AND id = $2 RETURNING true"


async def delete(db: Connection, *, user_id: str, token_id: UUID) -> bool:
    """End a token on every worker; False if the user has none with this id. Needs a transaction."""
    if not await db.fetchval(DELETE, user_id, token_id):
        return False
    await revocations.insert_ended(db, user_id=user_id, session_id=token_id)
    return True


DELETE_OF_USER = "DELETE FROM personal_tokens WHERE user_id = $1 RETURNING id"


async def delete_of_user(db: Connection, *, user_id: str) -> None:
    """End every token of a user on every worker. Needs a transaction."""
    for row in await db.fetch(DELETE_OF_USER, user_id):
        await revocations.insert_ended(db, user_id=user_id, session_id=row[0])


DELETE_ALL = "DELETE FROM personal_tokens WHERE user_id IS NOT NULL"


async def delete_all(db: Connection) -> None:
    """End every token of every user; those that a process remembers need a new epoch besides."""
    await db.execute(DELETE_ALL)


UPDATE_USED = """
UPDATE personal_tokens SET last_used_at = greatest(last_used_at, $3) WHERE user_id = $1 AND id = $2"""


async def update_used(db: Connection, *, uses: Sequence[tuple[str, UUID, datetime]]) -> None:
    """Record the last uses of tokens, each with its user; sorted, so that no two workers wait for each other."""
    await db.executemany(UPDATE_USED, sorted(uses))


_EXPIRED = "expires_at < statement_timestamp() - interval '30 days'"  # its owner sees it in the list until then
COUNT_EXPIRED = f"SELECT count(user_id) FROM personal_tokens WHERE {_EXPIRED}"


async def count_expired(db: Connection) -> int:
    """Return the number of tokens that expired long ago."""
    number: int = await db.fetchval(COUNT_EXPIRED)
    return number


DELETE_EXPIRED = f"""
WITH expired AS MATERIALIZED (
    SELECT user_id, id FROM personal_tokens WHERE {_EXPIRED} ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM personal_tokens AS token USING expired WHERE token.user_id = expired.user_id AND token.id = expired.id
    RETURNING 1
)
SELECT count(*) FROM gone"""
UP_TO_MOMENT = up_to_moment("personal_tokens", "expires_at", _EXPIRED)


async def delete_expired(db: Connection, *, at_most: int) -> int:
    """Delete the oldest of them, skipping locked ones, and return their number."""
    if is_distributed(db):
        return await delete_up_to_moment(db, UP_TO_MOMENT, at_most=at_most)
    number: int = await db.fetchval(DELETE_EXPIRED, at_most)
    return number
