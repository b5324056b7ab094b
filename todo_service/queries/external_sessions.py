"""Sessions an auth server keeps for us to read: table and columns are as it makes them, the name is a setting."""

from todo_service.postgres.connector import Connection


def select_user_from(table: str) -> str:
    """The statement of `select_user` for a table given as `name` or `schema.name`; made once, at the start."""
    quoted = ".".join(f'"{part}"' for part in table.split("."))
    return f'SELECT "userId"::text AS user_id FROM {quoted} WHERE token = $1 AND "expiresAt" > clock_timestamp()'


SELECT_USER = select_user_from("user_sessions")


async def select_user(db: Connection, statement: str, *, token: str) -> str | None:
    """Whose session a token is, as the column holds it; None if there is none or it has expired."""
    user_id: str | None = await db.fetchval(statement, token)
    return user_id
