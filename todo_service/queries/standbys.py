"""Synchronous standbys: an answer that repeats an earlier write waits until they have that write.

PostgreSQL commits, then waits for its standbys; a write that was given up while it waited is visible but may be lost in
a failover. A statement that changes or locks a row waits for all commits before it. One that finds nothing left to do
waits for nothing, unless it writes a record of its own.
"""

from todo_service.postgres.connection import Connection

WAIT = """
SELECT CASE
    WHEN current_setting('synchronous_standby_names') <> '' THEN pg_logical_emit_message(true, 'todo_service', '')
END"""


async def wait(db: Connection) -> None:
    """Wait until the synchronous standbys, if there are any, have every commit of before."""
    await db.execute(WAIT)
