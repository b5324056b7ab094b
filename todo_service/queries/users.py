"""`users`: the owners of tasks. Accounts made here have an email key and a password hash; others have neither."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from todo_service.postgres.connection import Connection
from todo_service.queries import account_emails
from todo_service.queries.statements import Columns


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
    email_verified: bool
    password_hash: str | None = field(repr=False)


USER_COLUMNS = Columns(UserRow)

INSERT = f"""
INSERT INTO users (id, email, email_key, password_hash, full_name) VALUES ($1, $2, $3, $4, $5)
RETURNING {USER_COLUMNS}"""


async def insert(
    db: Connection, *, user_id: str, email: str, email_key: str, password_hash: str, full_name: str | None
) -> UserRow:
    """Create an account with its change counter. Needs a transaction.

    Raises the violation of `account_emails_pkey` if the email is taken.
    """
    await account_emails.insert(db, email_key=email_key, user_id=user_id)
    row = await db.fetchrow(INSERT, user_id, email, email_key, password_hash, full_name)
    assert row is not None
    await db.execute(INSERT_CLOCK, user_id)
    return UserRow(*row)


INSERT_NEWCOMER = "INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT DO NOTHING"
INSERT_CLOCK = "INSERT INTO task_clocks (user_id) VALUES ($1) ON CONFLICT DO NOTHING"


async def insert_newcomer(db: Connection, *, user_id: str, email: str | None) -> None:
    """Create a user of an auth server with their change counter, unless they are there.

    Raises:
        asyncpg.ForeignKeyViolationError: The user is deleted meanwhile (`task_clocks_user_fkey`).
    """
    await db.execute(INSERT_NEWCOMER, user_id, email)
    await db.execute(INSERT_CLOCK, user_id)


SELECT = f"SELECT {USER_COLUMNS} FROM users WHERE id = $1"


async def select(db: Connection, *, user_id: str) -> UserRow | None:
    """Return one user by id."""
    row = await db.fetchrow(SELECT, user_id)
    return UserRow(*row) if row else None


async def select_by_email_key(db: Connection, *, email_key: str) -> UserRow | None:
    """Return the password account with this email key."""
    user_id = await account_emails.select(db, email_key=email_key)
    return await select(db, user_id=user_id) if user_id is not None else None


UPDATE_PASSWORD_HASH = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2"


async def update_password_hash(db: Connection, *, user_id: str, old: str, new: str) -> None:
    """Replace a hash by a stronger one of the same password, unless the password has changed meanwhile."""
    await db.execute(UPDATE_PASSWORD_HASH, user_id, old, new)


UPDATE_FULL_NAME = f"""
UPDATE users
SET full_name = $2, updated_at = CASE WHEN full_name IS DISTINCT FROM $2 THEN clock.moment ELSE updated_at END
FROM (SELECT now() AS moment) AS clock
WHERE id = $1
RETURNING {USER_COLUMNS}"""


async def update_full_name(db: Connection, *, user_id: str, full_name: str | None) -> UserRow | None:
    """Rename a user; None if there is no such user."""
    row = await db.fetchrow(UPDATE_FULL_NAME, user_id, full_name)
    return UserRow(*row) if row else None


UPDATE_PASSWORD = """
UPDATE users
SET password_hash = $3, generation = generation + 1, revoked_at = statement_timestamp(), updated_at = now()
WHERE id = $1 AND password_hash = $2
RETURNING true"""


async def update_password(db: Connection, *, user_id: str, old: str, new: str) -> bool:
    """Change the password and end every access token; False if it was changed meanwhile."""
    return await db.fetchval(UPDATE_PASSWORD, user_id, old, new) is True


UPDATE_EMAIL_VERIFIED = "UPDATE users SET email_verified = true, updated_at = now() WHERE id = $1"


async def update_email_verified(db: Connection, *, user_id: str) -> None:
    """Record that the email of an account was shown to be its user's."""
    await db.execute(UPDATE_EMAIL_VERIFIED, user_id)


SELECT_EMAIL_KEY = "SELECT email_key FROM users WHERE id = $1"
UPDATE_EMAIL = "UPDATE users SET email = $2, email_key = $3, updated_at = now() WHERE id = $1"


async def update_email(db: Connection, *, user_id: str, email: str, email_key: str) -> None:
    """Give an account another email. Needs a transaction that has locked the user's row.

    Raises:
        asyncpg.UniqueViolationError: The email is taken (`account_emails_pkey`).
    """
    old = await db.fetchval(SELECT_EMAIL_KEY, user_id)
    if old != email_key:
        await account_emails.insert(db, email_key=email_key, user_id=user_id)
    await db.execute(UPDATE_EMAIL, user_id, email, email_key)
    if old != email_key:
        await account_emails.delete(db, email_key=old)


RAISE_GENERATION = """
UPDATE users SET generation = generation + 1, revoked_at = statement_timestamp() WHERE id = $1"""


async def raise_generation(db: Connection, *, user_id: str) -> None:
    """End every access token of a user."""
    await db.execute(RAISE_GENERATION, user_id)


class Standing(NamedTuple):
    """Whether an id is that of an account made here, and whether its user is active; one without a row is."""

    is_account: bool
    is_active: bool


SELECT_STANDING = "SELECT password_hash IS NOT NULL, is_active FROM users WHERE id = $1"


async def select_standing(db: Connection, *, user_id: str) -> Standing:
    """Return the standing of a user, for credentials that were issued elsewhere."""
    row = await db.fetchrow(SELECT_STANDING, user_id)
    return Standing(*row) if row else Standing(is_account=False, is_active=True)


DELETE = "DELETE FROM users WHERE id = $1 AND password_hash = $2 RETURNING email_key"


async def delete(db: Connection, *, user_id: str, password_hash: str) -> bool:
    """Delete an account with all its data; False if it is gone or its password was changed meanwhile. Needs a
    transaction.
    """
    row = await db.fetchrow(DELETE, user_id, password_hash)
    if row is not None:
        await account_emails.delete(db, email_key=row[0])
    return row is not None


_LOCK_KEY = 0x61646D6E  # "admn"
WAIT_FOR_ADMINS = f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"
HAS_OTHER_ADMIN = """
SELECT true FROM users WHERE role = 'admin' AND is_active AND password_hash IS NOT NULL AND id <> $1 LIMIT 1"""


async def has_other_admin(db: Connection, *, user_id: str) -> bool:
    """Return whether another user is an active administrator. Needs a transaction that has locked the user's row: until
    it ends, no other one gets an answer, so of two administrators that end each other one stays.
    """
    await db.execute(WAIT_FOR_ADMINS)
    return await db.fetchval(HAS_OTHER_ADMIN, user_id) is True


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


# An auth server's user stays deactivated: its tokens are valid for weeks, and the next one would make the user again.
INSERT_INACTIVE = """
INSERT INTO users (id, is_active, created_at, revoked_at) VALUES ($1, false, $2, clock_timestamp())"""


async def insert_inactive(db: Connection, *, user_id: str, created_at: datetime) -> None:
    """Create a deactivated user of an auth server, without any data."""
    await db.execute(INSERT_INACTIVE, user_id, created_at)


DELETE_ANY = "DELETE FROM users WHERE id = $1 RETURNING email_key"


async def delete_any(db: Connection, *, user_id: str) -> None:
    """Delete a user with all their data, without their password. Needs a transaction."""
    if (email_key := await db.fetchval(DELETE_ANY, user_id)) is not None:
        await account_emails.delete(db, email_key=email_key)
