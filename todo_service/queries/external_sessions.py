"""Sessions that an auth server stores: table and columns are as it creates them, the table's name is a setting."""

from todo_service.postgres.connection import Connection


def select_user_from(table: str) -> str:
    """Return the statement of `select_user` for a table given as `name` or `schema.name`.

    Call it once, at the start.
    """
    quoted = ".".join(f'"{part}"' for part in table.split("."))
    return f'SELECT "userId"::text AS user_id FROM {quoted} WHERE token = $1 AND "expiresAt" > clock_timestamp()'


SELECT_USER = select_user_from("user_sessions")


async def select_user(db: Connection, statement: str, *, token: str) -> str | None:
    """Return the user of a session, or None if there is no such session or it has expired.

    `token` is as the column has it.
    """
    user_id: str | None = await db.fetchval(statement, token)
    return user_id
