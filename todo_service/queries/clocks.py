"""`task_clocks`: each user's change counter and number of tasks. Only changes of tasks and new epochs raise it."""

from collections.abc import Collection
from dataclasses import dataclass

from todo_service.postgres.connection import Connection
from todo_service.queries.task_lists import Stamp

SELECT_VERSION = "SELECT version FROM task_clocks WHERE user_id = $1"


async def select_version(db: Connection, *, owner_id: str) -> int | None:
    """Return the number of changes that this user's tasks have seen, or None if there is no such user."""
    version: int | None = await db.fetchval(SELECT_VERSION, owner_id)
    return version


SELECT_STAMPS = "SELECT user_id, epoch, version FROM task_clocks WHERE user_id = ANY ($1::text[])"


async def select_stamps(db: Connection, owner_ids: Collection[str]) -> dict[str, Stamp]:
    """Return the stamp of each of these users' tasks; a user without a row has none."""
    rows = await db.fetch(SELECT_STAMPS, list(owner_ids))
    return {row[0]: Stamp(row[1], row[2]) for row in rows}


# The user's row is locked before the clock's, as in a deletion, so that the two never deadlock.
LOCK = """
WITH owner AS MATERIALIZED (
    SELECT id FROM users WHERE id = $1 FOR KEY SHARE
)
SELECT clock.version FROM owner, task_clocks AS clock WHERE clock.user_id = owner.id AND clock.user_id = $1
FOR UPDATE OF clock"""


async def lock(db: Connection, *, owner_id: str) -> int | None:
    """Lock this user's tasks against other changes until the transaction ends.

    Returns the version as `select_version` does.
    """
    version: int | None = await db.fetchval(LOCK, owner_id)
    return version


# The update changes nothing: it locks a clock that another transaction has created meanwhile.
LOCK_FIRST = """
WITH newcomer AS (
    INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id
)
INSERT INTO task_clocks AS clock (user_id, version, task_count)
SELECT $1, 0, 0 FROM (SELECT count(*) FROM newcomer) AS made
ON CONFLICT (user_id) DO UPDATE SET version = clock.version
RETURNING clock.version"""


async def lock_first(db: Connection, *, owner_id: str, email: str | None) -> int:
    """Lock as `lock` does, for an owner without a row: it is created with this email."""
    version: int = await db.fetchval(LOCK_FIRST, owner_id, email)
    return version


COUNT_CLOCKS = "SELECT count(user_id) FROM task_clocks"


async def count_clocks(db: Connection) -> int:
    """Return the number of users with a clock."""
    count: int = await db.fetchval(COUNT_CLOCKS)
    return count


# More than the changes of one user that a restore can lose, so that no version is assigned twice.
_LEAP = 1_000_000

UPDATE_EPOCHS = f"""
WITH renewed AS (
    UPDATE task_clocks SET epoch = DEFAULT, version = version + {_LEAP}
    WHERE user_id = ANY (ARRAY (SELECT user_id FROM task_clocks WHERE user_id > $1 ORDER BY user_id LIMIT $2))
    RETURNING user_id
)
SELECT count(user_id), max(user_id) FROM renewed"""


async def update_epochs(db: Connection, *, after: str, at_most: int) -> tuple[int, str | None]:
    """Draw new epochs for the first clocks after this user's, and raise their versions by a million.

    No version that was assigned to a lost change is assigned again. Returns the number of clocks and the last user.
    """
    [(count, last)] = await db.fetch(UPDATE_EPOCHS, after, at_most)
    return count, last


@dataclass(frozen=True, slots=True)
class Totals:
    """The contents of the database, and how many users disagree with their clocks.

    Attributes:
        miscounted: Users with another number of tasks than their clock has.
        ahead: Users with a task or tombstone of a version that their clock has not reached.
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
    """Count everything and compare it with the clocks. Reads every task, so only for an operator."""
    row = await db.fetchrow(SELECT_TOTALS)
    assert row is not None
    return Totals(*row)
