"""Sessions that an auth server stores: table and columns are as it creates them, the table's name is a setting."""

from typing import NamedTuple

from todo_service.postgres.connection import Connection, is_distributed
from todo_service.queries import users


class SessionUser(NamedTuple):
    """The user of a session, with the standing of `users.Standing`."""

    id: str
    is_account: bool
    is_active: bool


class Statements(NamedTuple):
    """How a session's user is read: at once, or the id alone, where users are spread over several servers."""

    select_user: str
    select_user_id: str


def statements_for(table: str) -> Statements:
    """Return the statements for a table given as `name` or `schema.name`. Call it once, at the start."""
    quoted = ".".join(f'"{part}"' for part in table.split("."))
    current = 'session.token = $1 AND session."expiresAt" > clock_timestamp()'
    return Statements(
        f"""
SELECT session."userId"::text AS user_id, users.password_hash IS NOT NULL, coalesce(users.is_active, true)
FROM {quoted} AS session LEFT JOIN users ON users.id = session."userId"::text
WHERE {current}""",
        f'SELECT session."userId"::text FROM {quoted} AS session WHERE {current}',
    )


SELECT_USER, SELECT_USER_ID = statements_for("user_sessions")


async def select_user(db: Connection, statements: Statements, *, token: str) -> SessionUser | None:
    """Return the user of a session, or None if there is no such session or it has expired.

    `token` is as the column has it.
    """
    if is_distributed(db):
        user_id = await db.fetchval(statements.select_user_id, token)
        return SessionUser(user_id, *await users.select_standing(db, user_id=user_id)) if user_id is not None else None
    row = await db.fetchrow(statements.select_user, token)
    return SessionUser(*row) if row and row["user_id"] is not None else None
