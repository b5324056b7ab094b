"""`task_clocks`: each user's change counter and number of tasks. Only changes of tasks and new epochs raise it."""

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass

from todo_service.postgres.connection import Connection, is_distributed
from todo_service.queries.task_lists import Stamp

FEW = 16  # users, whose stamps are read one by one from several servers

SELECT_VERSION = "SELECT version FROM task_clocks WHERE user_id = $1"


async def select_version(db: Connection, *, owner_id: str) -> int | None:
    """Return the number of changes that this user's tasks have seen, or None if there is no such user."""
    version: int | None = await db.fetchval(SELECT_VERSION, owner_id)
    return version


SELECT_STAMPS = "SELECT user_id, epoch, version FROM task_clocks WHERE user_id = ANY ($1::text[])"
SELECT_STAMP = "SELECT user_id, epoch, version FROM task_clocks WHERE user_id = $1"


async def select_stamps(db: Connection, owner_ids: Collection[str]) -> dict[str, Stamp]:
    """Return the stamp of each of these users' tasks; a user without a row has none."""
    if is_distributed(db) and len(owner_ids) <= FEW:
        rows = [row for owner_id in owner_ids for row in await db.fetch(SELECT_STAMP, owner_id)]
    else:
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


COUNT_CLOCKS = "SELECT count(user_id) FROM task_clocks"


async def count_clocks(db: Connection) -> int:
    """Return the number of users with a clock."""
    count: int = await db.fetchval(COUNT_CLOCKS)
    return count


# More than the changes of one user that a restore can lose, so that no version is assigned twice.
_LEAP = 1_000_000

SELECT_OWNERS = "SELECT user_id FROM task_clocks WHERE user_id > $1 ORDER BY user_id LIMIT $2::bigint"
UPDATE_EPOCHS = f"""
UPDATE task_clocks
SET epoch = hashtextextended(user_id, $2) & 9007199254740991, version = version + {_LEAP}
WHERE user_id = ANY ($1::text[])"""


async def update_epochs(db: Connection, *, after: str, at_most: int) -> tuple[int, str | None]:
    """Draw new epochs (of 53 bits) for the first clocks after this user's, and raise their versions by a million.

    No version that was assigned to a lost change is assigned again. Returns the number of clocks and the last user.
    """
    owner_ids = [row[0] for row in await db.fetch(SELECT_OWNERS, after, at_most)]
    if not owner_ids:
        return 0, None
    await db.execute(UPDATE_EPOCHS, owner_ids, secrets.randbits(63))
    return len(owner_ids), owner_ids[-1]


@dataclass(frozen=True, slots=True)
class Totals:
    """The contents of the database, and how many users disagree with their clocks.

    Attributes:
        miscounted: Users with another number of tasks than their clock has.
        ahead: Users with a task or a past change of a version that their clock has not reached.
    """

    users: int
    tasks: int
    miscounted: int
    ahead: int


COUNT_USERS = "SELECT count(id) FROM users"
SELECT_TOTALS = """
WITH batch AS MATERIALIZED (
    SELECT user_id, version, task_count FROM task_clocks WHERE user_id > $1 ORDER BY user_id LIMIT $2::bigint
), held AS (
    SELECT user_id, count(id) AS tasks, max(version) AS newest FROM tasks
    WHERE user_id > $1 AND user_id <= (SELECT max(user_id) FROM batch) GROUP BY user_id
), past AS (
    SELECT user_id, max(version) AS newest FROM task_changes
    WHERE user_id > $1 AND user_id <= (SELECT max(user_id) FROM batch) GROUP BY user_id
)
SELECT
    count(clock.user_id), max(clock.user_id), coalesce(sum(held.tasks), 0)::bigint,
    count(clock.user_id) FILTER (WHERE clock.task_count <> coalesce(held.tasks, 0)),
    count(clock.user_id) FILTER (WHERE greatest(held.newest, past.newest) > clock.version)
FROM batch AS clock
LEFT JOIN held ON held.user_id = clock.user_id
LEFT JOIN past ON past.user_id = clock.user_id"""


async def select_totals(
    db: Connection, *, at_once: int = 10_000, report: Callable[[int], None] = lambda _: None
) -> Totals:
    """Count everything and compare it with the clocks. Reads every task, so only for an operator.

    Args:
        at_once: The users of one statement.
        report: Called with the number of users of each statement.
    """
    tasks = miscounted = ahead = 0
    last: str | None = ""
    while last is not None:
        [(count, last, *found)] = await db.fetch(SELECT_TOTALS, last, at_once)
        tasks, miscounted, ahead = tasks + found[0], miscounted + found[1], ahead + found[2]
        report(count)
    return Totals(await db.fetchval(COUNT_USERS), tasks, miscounted, ahead)
