"""`users`: the owners of tasks. Accounts made here have an email key and a password hash; others have neither."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from todo_service.postgres.connection import Connection
from todo_service.queries.statements import Columns
from todo_service.queries.text import contains


@dataclass(frozen=True, slots=True)
class UserRow:
    """One user. `generation` is the lowest one that an access token may carry; the hash never leaves the process."""

    id: str
    email: str | None
    full_name: str | None
    role: str
    is_active: bool
    generation: int
    created_at: datetime
    updated_at: datetime
    password_hash: str | None = field(repr=False)


USER_COLUMNS = Columns(UserRow)

INSERT = f"""
WITH account AS (
    INSERT INTO users (id, email, email_key, password_hash, full_name)
    VALUES ($1, $2, $3, $4, $5)
    RETURNING {USER_COLUMNS}
), clock AS (
    INSERT INTO task_clocks (user_id) SELECT id FROM account
)
SELECT {USER_COLUMNS} FROM account"""


async def insert(
    db: Connection, *, user_id: str, email: str, email_key: str, password_hash: str, full_name: str | None
) -> UserRow:
    """Create an account and its change counter.

    Raises the violation of `users_email_key_unique` if the email is taken.
    """
    row = await db.fetchrow(INSERT, user_id, email, email_key, password_hash, full_name)
    assert row is not None
    return UserRow(*row)


SELECT = f"SELECT {USER_COLUMNS} FROM users WHERE id = $1"


async def select(db: Connection, *, user_id: str) -> UserRow | None:
    """Return one user by id."""
    row = await db.fetchrow(SELECT, user_id)
    return UserRow(*row) if row else None


SELECT_BY_EMAIL_KEY = f"SELECT {USER_COLUMNS} FROM users WHERE email_key = $1"


async def select_by_email_key(db: Connection, *, email_key: str) -> UserRow | None:
    """Return the password account with this email key."""
    row = await db.fetchrow(SELECT_BY_EMAIL_KEY, email_key)
    return UserRow(*row) if row else None


UPDATE_PASSWORD_HASH = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2"


async def update_password_hash(db: Connection, *, user_id: str, old: str, new: str) -> None:
    """Replace a hash by a stronger one of the same password, unless the password has changed meanwhile."""
    await db.execute(UPDATE_PASSWORD_HASH, user_id, old, new)


UPDATE_FULL_NAME = f"""
UPDATE users SET full_name = $2, updated_at = CASE WHEN full_name IS DISTINCT FROM $2 THEN now() ELSE updated_at END
WHERE id = $1
RETURNING {USER_COLUMNS}"""


async def update_full_name(db: Connection, *, user_id: str, full_name: str | None) -> UserRow | None:
    """Rename a user; None if there is no such user."""
    row = await db.fetchrow(UPDATE_FULL_NAME, user_id, full_name)
    return UserRow(*row) if row else None


UPDATE_PASSWORD = """
UPDATE users
SET password_hash = $3, generation = generation + 1, revoked_at = clock_timestamp(), updated_at = now()
WHERE id = $1 AND password_hash = $2
RETURNING true"""


async def update_password(db: Connection, *, user_id: str, old: str, new: str) -> bool:
    """Change the password and end every access token; False if it was changed meanwhile."""
    return await db.fetchval(UPDATE_PASSWORD, user_id, old, new) is True


RAISE_GENERATION = """
UPDATE users SET generation = generation + 1, revoked_at = clock_timestamp() WHERE id = $1"""


async def raise_generation(db: Connection, *, user_id: str) -> None:
    """End every access token of a user."""
    await db.execute(RAISE_GENERATION, user_id)


DELETE = "DELETE FROM users WHERE id = $1 AND password_hash = $2 RETURNING true"


async def delete(db: Connection, *, user_id: str, password_hash: str) -> bool:
    """Delete an account with all its data; False if it is gone or its password was changed meanwhile."""
    return await db.fetchval(DELETE, user_id, password_hash) is True


LOCK_ACTIVE_ADMINS = """
SELECT id AS user_id FROM users WHERE role = 'admin' AND is_active AND password_hash IS NOT NULL
ORDER BY id FOR NO KEY UPDATE"""


async def lock_active_admins(db: Connection) -> list[str]:
    """Return the ids of all administrators who can act, locked until the transaction ends."""
    return [row[0] for row in await db.fetch(LOCK_ACTIVE_ADMINS)]


@dataclass(frozen=True, slots=True)
class Revocation:
    """The first valid generation of access tokens; of an inactive account the first one after it."""

    user_id: str
    generation: int
    is_active: bool


SELECT_REVOKED = """
WITH since AS MATERIALIZED (
    SELECT coalesce($1::timestamptz, statement_timestamp() - $2 * interval '1 s') AS moment
)
SELECT statement_timestamp() AS now, revoked.user_id, revoked.generation, revoked.is_active
FROM (VALUES (1)) AS always LEFT JOIN (
    SELECT id AS user_id, generation, is_active FROM users WHERE revoked_at >= (SELECT moment FROM since)
    UNION ALL
    SELECT id, generation, false FROM users WHERE NOT is_active AND $1 IS NULL
    UNION ALL
    SELECT subject_id, 2147483647, false FROM audit_log
    WHERE action = 'account_deleted' AND at >= (SELECT moment FROM since)
) AS revoked ON true"""


async def select_revoked(
    db: Connection, *, since: datetime | None, at_most: float
) -> tuple[datetime, list[Revocation]]:
    """Return the database's time, and the revocations since a moment of that clock.

    Args:
        since: None for the last `at_most` seconds, and every inactive user.
    """
    rows = await db.fetch(SELECT_REVOKED, since, at_most)
    return rows[0][0], [Revocation(*row[1:]) for row in rows if row[1] is not None]


class Filter(NamedTuple):
    """The filters of a list of users: `q` is a case-insensitive substring of email or name; None leaves one out."""

    q: str | None = None
    role: str | None = None
    is_active: bool | None = None


_FILTER = f"""
    ($1::text IS NULL OR {contains("email", "$1")} OR {contains("full_name", "$1")})
    AND ($2::text IS NULL OR role = $2)
    AND ($3::boolean IS NULL OR is_active = $3)"""
SELECT_PAGE = f"""
SELECT total.matches, {USER_COLUMNS.of("page")}
FROM (SELECT count(*) AS matches FROM users WHERE {_FILTER}) AS total
LEFT JOIN LATERAL (
    SELECT {USER_COLUMNS} FROM users WHERE {_FILTER}
    ORDER BY created_at DESC, id DESC LIMIT $4::bigint OFFSET $5::bigint
) AS page ON true
ORDER BY page.created_at DESC, page.id DESC"""


async def select_page(db: Connection, filters: Filter, *, skip: int, limit: int) -> tuple[list[UserRow], int]:
    """Return `limit` users after the first `skip`, newest first, and the number of matches."""
    rows = await db.fetch(SELECT_PAGE, *filters, limit, skip)
    matches, first_id = rows[0][:2]
    return [UserRow(*row[1:]) for row in rows] if first_id else [], matches


class UserChanges(NamedTuple):
    """An administrator's changes. None leaves a field alone; the name is set, even to null, if flagged."""

    role: str | None = None
    is_active: bool | None = None
    sets_full_name: bool = False
    full_name: str | None = None


UPDATE = f"""
UPDATE users SET
    role = coalesce($2, role), is_active = coalesce($3, is_active),
    full_name = CASE WHEN $4::boolean THEN $5::text ELSE full_name END, updated_at = now()
WHERE id = $1
RETURNING {USER_COLUMNS}"""


async def update(db: Connection, *, user_id: str, changes: UserChanges) -> UserRow | None:
    """Change a user; None if there is no such user."""
    row = await db.fetchrow(UPDATE, user_id, *changes)
    return UserRow(*row) if row else None


LOCK = f"SELECT {USER_COLUMNS} FROM users WHERE id = $1 FOR NO KEY UPDATE"


async def lock(db: Connection, *, user_id: str) -> UserRow | None:
    """Return one user, locked until the transaction ends."""
    row = await db.fetchrow(LOCK, user_id)
    return UserRow(*row) if row else None


DELETE_ANY = "DELETE FROM users WHERE id = $1 RETURNING true"


async def delete_any(db: Connection, *, user_id: str) -> bool:
    """Delete a user with all their data, without their password; False if there is none."""
    return await db.fetchval(DELETE_ANY, user_id) is True
