"""Rows of `task_changes` that have expired: past versions of tasks, and deletions that no client of delta sync needs.

A deletion stays for 30 days, or for as long as past versions if that is longer; until then it may lose its content.
"""

from todo_service.postgres.connection import Connection, in_transaction, is_distributed
from todo_service.queries.task_changes import forgotten_content

SYNC_DAYS = 30
_EXPIRED = "deletes AND changed_at < statement_timestamp() - $1 * interval '1 day'"

COUNT_EXPIRED = f"SELECT count(user_id) FROM task_changes WHERE {_EXPIRED}"


async def count_expired(db: Connection, *, days: int = 0) -> int:
    """Return the number of deletions that are older than 30 days, and older than `days`."""
    count: int = await db.fetchval(COUNT_EXPIRED, max(days, SYNC_DAYS))
    return count


# A writer of tasks holds the clock and is skipped, so that neither waits for the other. The arrays are for the planner,
# which takes an unknown LIMIT for a tenth of the table. A row that is changed meanwhile stays for the next time.
DELETE_EXPIRED = f"""
WITH expired AS MATERIALIZED (
    SELECT deletion.ctid, deletion.user_id, deletion.version
    FROM task_changes AS deletion JOIN task_clocks AS clock ON clock.user_id = deletion.user_id
    WHERE {_EXPIRED}
    ORDER BY deletion.changed_at LIMIT $2
    FOR UPDATE OF clock, deletion SKIP LOCKED
), raised AS (
    UPDATE task_clocks AS clock SET sync_floor = greatest(clock.sync_floor, highest.version)
    FROM (SELECT user_id, max(version) AS version FROM expired GROUP BY user_id) AS highest
    WHERE clock.user_id = highest.user_id AND clock.user_id = ANY (ARRAY (SELECT user_id FROM expired))
), gone AS (
    DELETE FROM task_changes WHERE ctid = ANY (ARRAY (SELECT ctid FROM expired)) RETURNING 1
)
SELECT count(*) FROM gone"""


async def delete_expired(db: Connection, *, at_most: int, days: int = 0) -> int:
    """Delete the oldest deletions that `count_expired` counts, and raise their users' sync floor to the highest
    deleted version.

    Users with a write in progress are skipped. Returns the number of deleted rows.
    """
    if is_distributed(db):
        return await _delete_by_users(db, at_most, max(days, SYNC_DAYS))
    count: int = await db.fetchval(DELETE_EXPIRED, max(days, SYNC_DAYS), at_most)
    return count


# The same user by user, where their rows are spread over several servers.
SELECT_MOMENT = f"""
SELECT max(changed_at) FROM (
    SELECT changed_at FROM task_changes AS kept WHERE {_EXPIRED} ORDER BY changed_at LIMIT $2::bigint
) AS oldest"""
SELECT_OWNERS = """
SELECT user_id, max(version) AS version FROM task_changes WHERE deletes AND changed_at <= $1 GROUP BY user_id"""
RAISE_FLOOR = "UPDATE task_clocks SET sync_floor = greatest(sync_floor, $2) WHERE user_id = $1"
DELETE_OF_OWNER = "DELETE FROM task_changes WHERE user_id = $1 AND deletes AND changed_at <= $2"


async def _delete_by_users(db: Connection, at_most: int, days: int) -> int:
    count, moment = 0, await db.fetchval(SELECT_MOMENT, days, at_most)
    for owner_id, version in await db.fetch(SELECT_OWNERS, moment) if moment is not None else ():
        async with in_transaction(db):
            await db.execute(RAISE_FLOOR, owner_id, version)
            count += int((await db.execute(DELETE_OF_OWNER, owner_id, moment)).removeprefix("DELETE "))
    return count


_PAST = "(NOT deletes OR title IS NOT NULL) AND changed_at < statement_timestamp() - $1 * interval '1 day'"
COUNT_PAST = f"SELECT count(user_id) FROM task_changes WHERE {_PAST}"


async def count_past(db: Connection, *, days: int) -> int:
    """Return the number of past versions of tasks that are older than `days`."""
    count: int = await db.fetchval(COUNT_PAST, days)
    return count


DELETE_PAST = f"""
WITH past AS MATERIALIZED (
    SELECT ctid FROM task_changes WHERE {_PAST} ORDER BY changed_at LIMIT $2 FOR UPDATE SKIP LOCKED
), emptied AS (
    UPDATE task_changes SET {forgotten_content} WHERE ctid = ANY (ARRAY (SELECT ctid FROM past)) AND deletes RETURNING 1
), gone AS (
    DELETE FROM task_changes WHERE ctid = ANY (ARRAY (SELECT ctid FROM past)) AND NOT deletes RETURNING 1
)
SELECT (SELECT count(*) FROM emptied) + (SELECT count(*) FROM gone)"""
# The same up to a moment, on several servers.
SELECT_PAST_MOMENT = SELECT_MOMENT.replace(_EXPIRED, _PAST)
DELETE_UP_TO_MOMENT = "DELETE FROM task_changes WHERE NOT deletes AND changed_at <= $1"
FORGET_UP_TO_MOMENT = f"""
UPDATE task_changes SET {forgotten_content} WHERE deletes AND title IS NOT NULL AND changed_at <= $1"""


async def delete_past(db: Connection, *, at_most: int, days: int) -> int:
    """Delete the oldest past versions that `count_past` counts, of a deletion only the content; return their number."""
    if not is_distributed(db):
        count: int = await db.fetchval(DELETE_PAST, days, at_most)
        return count
    moment = await db.fetchval(SELECT_PAST_MOMENT, days, at_most)
    if moment is None:
        return 0
    statuses = [await db.execute(sql, moment) for sql in (FORGET_UP_TO_MOMENT, DELETE_UP_TO_MOMENT)]
    return sum(int(status.split()[-1]) for status in statuses)
