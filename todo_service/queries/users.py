"""`users`: who owns tasks. Accounts made here have an email key and a password hash; others have neither."""

from dataclasses import dataclass, field
from datetime import datetime

from todo_service.connect import Connection

_COLUMNS = "id, email, full_name, role, is_active, generation, created_at, updated_at, password_hash"


@dataclass(frozen=True, slots=True)
class UserRow:
    """One user. `generation` is the lowest one an access token may carry; the hash never leaves the process."""

    id: str
    email: str | None
    full_name: str | None
    role: str
    is_active: bool
    generation: int
    created_at: datetime
    updated_at: datetime
    password_hash: str | None = field(repr=False)


INSERT = f"""
WITH account AS (
    INSERT INTO users (id, email, email_key, password_hash, full_name)
    VALUES ($1, $2, $3, $4, $5)
    RETURNING {_COLUMNS}
), clock AS (
    INSERT INTO task_clocks (user_id) SELECT id FROM account
)
SELECT {_COLUMNS} FROM account"""


async def insert(
    db: Connection, *, user_id: str, email: str, email_key: str, password_hash: str, full_name: str | None
) -> UserRow:
    """Make an account and its change counter. Raises the violation of `users_email_key_unique` if it is taken."""
    row = await db.fetchrow(INSERT, user_id, email, email_key, password_hash, full_name)
    assert row is not None
    return UserRow(*row)


SELECT = f"SELECT {_COLUMNS} FROM users WHERE id = $1"


async def select(db: Connection, *, user_id: str) -> UserRow | None:
    """One user by id."""
    row = await db.fetchrow(SELECT, user_id)
    return UserRow(*row) if row else None


SELECT_BY_EMAIL_KEY = f"SELECT {_COLUMNS} FROM users WHERE email_key = $1"


async def select_by_email_key(db: Connection, *, email_key: str) -> UserRow | None:
    """The password account with this email as compared."""
    row = await db.fetchrow(SELECT_BY_EMAIL_KEY, email_key)
    return UserRow(*row) if row else None


UPDATE_PASSWORD_HASH = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2"


async def update_password_hash(db: Connection, *, user_id: str, old: str, new: str) -> None:
    """Replace a hash by a stronger one of the same password, unless the password has changed meanwhile."""
    await db.execute(UPDATE_PASSWORD_HASH, user_id, old, new)
