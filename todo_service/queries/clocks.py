"""`task_clocks`: each user's change counter and number of tasks. Only the statements of `tasks` raise it."""

from todo_service.connect import Connection

SELECT_VERSION = "SELECT version FROM task_clocks WHERE user_id = $1"


async def select_version(db: Connection, *, owner_id: str) -> int | None:
    """How many changes this user's tasks have seen, or None if there is no such user."""
    version: int | None = await db.fetchval(SELECT_VERSION, owner_id)
    return version


# The user's row comes before the clock's, as in a deletion, so that the two never wait for each other.
LOCK = """
WITH owner AS MATERIALIZED (
    SELECT id FROM users WHERE id = $1 FOR KEY SHARE
)
SELECT clock.version FROM owner, task_clocks AS clock WHERE clock.user_id = owner.id AND clock.user_id = $1
FOR UPDATE OF clock"""


async def lock(db: Connection, *, owner_id: str) -> int | None:
    """Hold off every other change of this user's tasks until the transaction ends. What `select_version` says."""
    version: int | None = await db.fetchval(LOCK, owner_id)
    return version
