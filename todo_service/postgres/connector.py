"""One connection to PostgreSQL: to which host, directly or through a pooler.

The pool calls a `Connector` for each new connection. It remembers the last good host, a transaction pooler at the
other end, and the failures it has logged.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import structlog

from todo_service.config import database_tls
from todo_service.config.database_options import DatabaseOptions
from todo_service.config.database_url import Dsn
from todo_service.postgres.connection import Connection, TimedConnection
from todo_service.postgres.failures import describe, is_unavailable

HOST_SECONDS = 1.0
CLOSE_SECONDS = 5.0
SELECT_PLAN_MODE = "SELECT current_setting('plan_cache_mode', true)"
SELECT_LIMITS_NOT_SET = """
    SELECT array_agg(name ORDER BY name) FROM pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout') AND setting = '0'
"""

log = structlog.get_logger()


class CannotConnectError(ConnectionError):
    """No host accepted the connection. The text is the reason, for the operator's log; it holds no password."""


class Connector:
    """Opens connections to the hosts of a connection string.

    Args:
        dsn: The connection string.
        server_settings: Session settings; those of the connection string override them. Through a pooler only the
            connection string's own and those that PgBouncer tracks are sent.
        on_statement: Called with the text and the seconds of each statement, in the context of the task that ran it.
    """

    def __init__(
        self,
        dsn: Dsn,
        *,
        server_settings: Mapping[str, str],
        on_statement: Callable[[str, float], None] | None = None,
    ) -> None:
        self.pooled = dsn.pooled
        self._dsn = dsn
        self._server_settings = {**server_settings, **dsn.server_settings}
        self._on_statement = on_statement
        self._tls = database_tls.context(dsn)
        self._hosts: tuple[tuple[str | None, int | None], ...] = dsn.hosts or ((None, None),)
        self._first = 0
        self._checked = False
        self._limits_checked = "statement_timeout" not in server_settings
        self._reported: set[str] = set()

    async def connect(self) -> TimedConnection:
        """Open a connection to the first host that answers and fits.

        A host that used up the caller's time is tried last next time.

        Raises:
            CannotConnectError: No host accepted the connection.
        """
        failures: list[BaseException] = []
        for attrs, index in list(self._candidates()):
            started = asyncio.get_running_loop().time()
            try:
                connection: TimedConnection = await self._open(index, attrs)
            except asyncio.CancelledError:
                self._first = (index + 1) % len(self._hosts)
                if asyncio.get_running_loop().time() - started > HOST_SECONDS / 2:
                    self._report(describe(TimeoutError()))
                raise
            except Exception as error:
                failures.append(error)
            else:
                self._first = index
                self._report_recovery(index)
                if self._on_statement is not None:
                    connection.on_statement = self._on_statement
                return connection
        worst = next((error for error in failures if isinstance(error, asyncpg.PostgresError)), failures[-1])
        self._report(reason := describe(worst))
        raise CannotConnectError(reason) from worst

    def _candidates(self) -> Iterator[tuple[str, int]]:
        required = self._dsn.target_session_attrs
        for attrs in ("standby", "any") if required == "prefer-standby" else (required,):
            for step in range(len(self._hosts)):
                yield attrs, (self._first + step) % len(self._hosts)

    async def _open(self, index: int, attrs: str) -> Any:
        if not self.pooled:
            try:
                connection = await self._connect(index, attrs)
                if self._checked or await self._keeps_settings(connection):
                    self._checked = True
                    return connection
            except asyncpg.PostgresError as error:
                if error.sqlstate != "08P01" or "startup parameter" not in str(error):
                    raise
            self._on_pooler_detected()
        connection = await self._connect(index, attrs)
        if not self._limits_checked:
            self._limits_checked = True
            if not await self._check_limits(connection):
                return await self._connect(index, attrs)
        return connection

    def _on_pooler_detected(self) -> None:
        if not self.pooled:
            self.pooled = True
            log.warning(
                "database_pooler_found",
                detail="The database is behind a transaction pooler: statements are not kept prepared and the "
                "service's session settings are not sent. Add pgbouncer=true to DATABASE_URL to make this explicit.",
            )

    async def _keeps_settings(self, connection: Any) -> bool:
        """Return whether the session has the settings it was sent; a pooler drops them and breaks prepared statements.

        Closes the connection otherwise.
        """
        try:
            mode = await _fetch_or_close(connection, SELECT_PLAN_MODE)
        except asyncpg.InvalidSQLStatementNameError:  # it was prepared on another one; this is closed
            return False
        if mode is None or mode == self._server_settings.get("plan_cache_mode", mode):
            return True
        connection.terminate()
        return False

    async def _check_limits(self, connection: Any) -> bool:
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

    async def _connect(self, index: int, attrs: str) -> Any:
        host, port = self._hosts[index]
        dsn, sent = self._dsn, dict(self._server_settings)
        if self.pooled:
            tracked = {"application_name", "timezone", *dsn.server_settings}
            sent = {name: value for name, value in sent.items() if name in tracked}
        arguments: dict[str, Any] = {
            "host": host,
            "port": port,
            "user": dsn.user,
            "password": dsn.password,
            "passfile": dsn.passfile,
            "database": dsn.database,
            "ssl": self._tls,
            "direct_tls": dsn.direct_tls,
            "target_session_attrs": attrs,
            "server_settings": sent,
            "timeout": dsn.connect_timeout or HOST_SECONDS,
            "connection_class": TimedConnection,
        }
        if self.pooled:
            arguments["statement_cache_size"] = 0
        return await asyncpg.connect(**arguments)

    def _report(self, reason: str) -> None:
        """Log each failure once until the next success: the pool retries with every request."""
        if reason not in self._reported:
            self._reported.add(reason)
            log.error("database_unreachable", reason=reason)

    def _report_recovery(self, index: int) -> None:
        if self._reported:
            self._reported.clear()
            log.info("database_reachable_again", host=self._hosts[index][0])


async def _fetch_or_close(connection: Any, query: str) -> Any:
    """Return the value of a query; close the connection if there is none in time."""
    try:
        return await connection.fetchval(query, timeout=HOST_SECONDS)
    except BaseException:
        connection.terminate()
        raise


@asynccontextmanager
async def single_connection(options: DatabaseOptions) -> AsyncIterator[Connection]:
    """Open one connection without pool, deadlines or session settings of the service, for the commands.

    Raises:
        CannotConnectError: No host accepted the connection.
    """
    connector = Connector(
        options.dsn,
        server_settings={"application_name": options.application_name, "timezone": "UTC"},
    )
    db = await connector.connect()
    try:
        yield db
    finally:
        try:
            await db.close(timeout=CLOSE_SECONDS)
        except (OSError, asyncpg.InterfaceError):
            db.terminate()
