"""Expired rows of a table that is spread over several servers: they are deleted up to a moment, on all servers at once.

There a row cannot be locked and passed over; rows that are in use hold the statement up for a moment.
"""

from typing import NamedTuple

from todo_service.postgres.connection import Connection


class UpToMoment(NamedTuple):
    """The two statements: one finds the moment up to which about `$1` rows have expired, one deletes up to it."""

    find: str
    delete: str


def up_to_moment(table: str, moment: str, expired: str) -> UpToMoment:
    """Return the statements of a table, by the column that tells when, and the condition of expired rows."""
    oldest = f"SELECT {moment} AS moment FROM {table} AS kept WHERE {expired} ORDER BY {moment} LIMIT $1::bigint"
    return UpToMoment(f"SELECT max(moment) FROM ({oldest}) AS oldest", f"DELETE FROM {table} WHERE {moment} <= $1")


async def delete_up_to_moment(db: Connection, statements: UpToMoment, *, at_most: int) -> int:
    """Delete about the oldest `at_most` expired rows, and return their number."""
    moment = await db.fetchval(statements.find, at_most)
    if moment is None:
        return 0
    status = await db.execute(statements.delete, moment)
    return int(status.removeprefix("DELETE "))
