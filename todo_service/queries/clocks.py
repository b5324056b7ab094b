"""`task_clocks`: each user's change counter and number of tasks. Only the statements of `tasks` raise it."""

from todo_service.connect import Connection

SELECT_VERSION = "SELECT version FROM task_clocks WHERE user_id = $1"


async def select_version(db: Connection, *, owner_id: str) -> int | None:
    """How many changes this user's tasks have seen, or None if there is no such user."""
    version: int | None = await db.fetchval(SELECT_VERSION, owner_id)
    return version


COUNT_CLOCKS = "SELECT count(user_id) FROM task_clocks"


async def count_clocks(db: Connection) -> int:
    """How many users have a clock."""
    count: int = await db.fetchval(COUNT_CLOCKS)
    return count


# More than the changes of one user that can be lost with a restore: no version is given twice.
_LEAP = 1_000_000

UPDATE_EPOCHS = f"""
WITH renewed AS (
    UPDATE task_clocks SET epoch = DEFAULT, version = version + {_LEAP}
    WHERE user_id = ANY (ARRAY (SELECT user_id FROM task_clocks WHERE user_id > $1 ORDER BY user_id LIMIT $2))
    RETURNING user_id
)
SELECT count(user_id), max(user_id) FROM renewed"""


async def update_epochs(db: Connection, *, after: str, at_most: int) -> tuple[int, str | None]:
    """Draw new epochs for some clocks, the first ones after this user's, and let their versions go on a million higher,
    so that none that was given for a lost change is given again. Returns how many, and whose was the last.
    """
    [(count, last)] = await db.fetch(UPDATE_EPOCHS, after, at_most)
    return count, last
