"""`task_clocks`: each user's change counter and number of tasks. Only the statements of `tasks` raise it."""

from dataclasses import dataclass

from todo_service.postgres.connector import Connection

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


# The update changes nothing: it locks a clock that somebody else has made meanwhile.
LOCK_FIRST = """
WITH newcomer AS (
    INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id
)
INSERT INTO task_clocks AS clock (user_id, version, task_count)
SELECT $1, 0, 0 FROM (SELECT count(*) FROM newcomer) AS made
ON CONFLICT (user_id) DO UPDATE SET version = clock.version
RETURNING clock.version"""


async def lock_first(db: Connection, *, owner_id: str, email: str | None) -> int:
    """The same for an owner who had no row just now: it is made, with this email."""
    version: int = await db.fetchval(LOCK_FIRST, owner_id, email)
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


@dataclass(frozen=True, slots=True)
class Totals:
    """What there is, and for how many users it does not agree with their clocks: another number of tasks than the
    clock says, or a task or tombstone of a version that the clock has not reached.
    """

    users: int
    tasks: int
    miscounted: int
    ahead: int


SELECT_TOTALS = """
WITH held AS (
    SELECT user_id, count(id) AS tasks, max(version) AS newest FROM tasks GROUP BY user_id
), buried AS (
    SELECT user_id, max(version) AS newest FROM task_tombstones GROUP BY user_id
)
SELECT
    (SELECT count(id) FROM users),
    coalesce(sum(held.tasks), 0)::bigint,
    count(clock.user_id) FILTER (WHERE clock.task_count <> coalesce(held.tasks, 0)),
    count(clock.user_id) FILTER (WHERE greatest(held.newest, buried.newest) > clock.version)
FROM task_clocks AS clock
LEFT JOIN held ON held.user_id = clock.user_id
LEFT JOIN buried ON buried.user_id = clock.user_id"""


async def select_totals(db: Connection) -> Totals:
    """Count everything and compare it with the clocks: reads every task, so only for an operator."""
    row = await db.fetchrow(SELECT_TOTALS)
    assert row is not None
    return Totals(*row)
