"""`task_clocks`: each user's change counter and number of tasks. Only the statements of `tasks` raise it."""

from todo_service.connect import Connection

SELECT_VERSION = "SELECT version FROM task_clocks WHERE user_id = $1"


async def select_version(db: Connection, *, owner_id: str) -> int | None:
    """How many changes this user's tasks have seen, or None if there is no such user."""
    version: int | None = await db.fetchval(SELECT_VERSION, owner_id)
    return version
