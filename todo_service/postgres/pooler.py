"""Transaction poolers: the parts of a session that one keeps, found out on a connection through it.

A pooler such as PgBouncer gives each transaction another connection of the server. Session settings are lost with that,
and prepared statements unless the pooler prepares them wherever they are used.
"""

import asyncio
from typing import Any

import asyncpg
import structlog

from todo_service.postgres.failures import is_unavailable

SECONDS = 1.0
SELECT_PLAN_MODE = "SELECT current_setting('plan_cache_mode', true)"
PROBE = "SELECT 'todo_service_probe'"
SELECT_IS_RENAMED = "SELECT bool_or(name LIKE 'PGBOUNCER%') FROM pg_prepared_statements WHERE statement = $1"
SELECT_LIMITS_NOT_SET = """
    SELECT array_agg(name ORDER BY name) FROM pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout') AND setting = '0'
"""

log = structlog.get_logger()


async def keeps_settings(connection: Any, plan_mode: str | None) -> bool:
    """Return whether the session has the settings it was sent; a pooler drops them and breaks prepared statements.

    Closes the connection otherwise.

    Args:
        plan_mode: The `plan_cache_mode` that was sent, if any.
    """
    try:
        mode = await _fetch_or_close(connection, SELECT_PLAN_MODE)
    except asyncpg.InvalidSQLStatementNameError:  # it was prepared on another one; this is closed
        return False
    if mode is None or plan_mode is None or mode == plan_mode:
        return True
    connection.terminate()
    return False


async def keeps_statements(connection: Any) -> bool | None:
    """Return whether the pooler keeps prepared statements: PgBouncer from 1.21 on gives them names of its own.

    None, with the connection closed, if it does not answer.
    """
    try:
        async with asyncio.timeout(SECONDS), connection.transaction():  # on one connection of the server
            probe = await connection.prepare(PROBE, name="todo_service_probe")
            keeps = await connection.fetchval(SELECT_IS_RENAMED, probe.get_query()) is True
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
        return None
    if not keeps:
        log.warning(
            "database_pooler_forgets_statements",
            detail="Behind this pooler a request costs the database two to four times as much, since no statement "
            "stays prepared. PgBouncer keeps them from 1.21 on (max_prepared_statements); with another pooler that "
            "does, add prepared_statements=true to DATABASE_URL.",
        )
    return keeps


async def check_limits(connection: Any) -> bool:
    """Log the time limits that the database does not enforce, since through a pooler ours are not sent.

    Returns False, with the connection closed, if it does not answer; a busy pooler is no reason to go without.
    """
    try:
        limits = await _fetch_or_close(connection, SELECT_LIMITS_NOT_SET)
    except Exception as error:
        if not is_unavailable(error):
            raise
        return False
    if limits:
        log.warning(
            "database_limits_not_in_force",
            limits=limits,
            detail="Through a transaction pooler the service cannot set them, and a statement it has given up may "
            "go on in the database. Set them on the role: ALTER ROLE … SET statement_timeout = '3s'.",
        )
    return True


async def _fetch_or_close(connection: Any, query: str) -> Any:
    """Return the value of a query; close the connection if there is none in time."""
    try:
        return await connection.fetchval(query, timeout=SECONDS)
    except BaseException:
        connection.terminate()
        raise
