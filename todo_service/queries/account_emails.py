"""`account_emails`: the account of each email key, in a table of its own: of several registrations one wins, also where
`users` is spread over several servers by id.
"""

from collections.abc import Collection

from todo_service.postgres.connection import Connection

INSERT = "INSERT INTO account_emails (email_key, user_id) VALUES ($1, $2)"


async def insert(db: Connection, *, email_key: str, user_id: str) -> None:
    """Take an email for an account, before the account is stored.

    Raises:
        asyncpg.UniqueViolationError: It is taken (`account_emails_pkey`).
    """
    await db.execute(INSERT, email_key, user_id)


SELECT = "SELECT user_id FROM account_emails WHERE email_key = $1"


async def select(db: Connection, *, email_key: str) -> str | None:
    """Return the id of the account with this email key."""
    user_id: str | None = await db.fetchval(SELECT, email_key)
    return user_id


SELECT_TAKEN = "SELECT email_key FROM account_emails WHERE email_key = ANY ($1::text[])"


async def select_taken(db: Connection, *, email_keys: Collection[str]) -> set[str]:
    """Return those of these email keys that have an account."""
    return {row[0] for row in await db.fetch(SELECT_TAKEN, list(email_keys))}


DELETE = "DELETE FROM account_emails WHERE email_key = $1"


async def delete(db: Connection, *, email_key: str) -> None:
    """Give back the email of an account that is deleted; on one server that has happened with the account."""
    await db.execute(DELETE, email_key)
