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
from todo_service.postgres import citus, pooler
from todo_service.postgres.connection import Connection, TimedConnection
from todo_service.postgres.failures import describe

HOST_SECONDS = 1.0
CLOSE_SECONDS = 5.0
NEEDS_SESSIONS = "ROW_LEVEL_SECURITY needs sessions, and DATABASE_URL leads through a transaction pooler"

log = structlog.get_logger()


class CannotConnectError(ConnectionError):
    """No host accepted the connection. The text is the reason, for the operator's log; it holds no password."""


class Connector:
    """Opens connections to the hosts of a connection string; `first` is the index of the one that is tried first.

    Args:
        dsn: The connection string.
        server_settings: Session settings; those of the connection string override them. Through a pooler only the
            connection string's own and those that PgBouncer tracks are sent.
        needs_sessions: Refuse a transaction pooler.
        on_statement: Called with the text and the seconds of each statement, in the context of the task that ran it.
    """

    def __init__(
        self,
        dsn: Dsn,
        *,
        server_settings: Mapping[str, str],
        on_statement: Callable[[str, float], None] | None = None,
        needs_sessions: bool = False,
    ) -> None:
        self.pooled = dsn.pooled
        self._prepared = dsn.prepared
        self._needs_sessions = needs_sessions
        self._dsn = dsn
        self._server_settings = {**server_settings, **dsn.server_settings}
        self._on_statement = on_statement
        self._tls = database_tls.context(dsn)
        self._hosts: tuple[tuple[str | None, int | None], ...] = dsn.hosts or ((None, None),)
        self.first = 0
        self._checked = False
        self._limits_checked = "statement_timeout" not in server_settings
        self._reported: set[str] = set()
        self._is_distributed: bool | None = None

    @property
    def host_count(self) -> int:
        """Hosts to choose from."""
        return len(self._hosts)

    @property
    def patience(self) -> float:
        """Seconds that it takes at most to open a connection, or to find that no host accepts one."""
        return (self._dsn.connect_timeout or HOST_SECONDS) * len(self._hosts)

    @property
    def has_choice(self) -> bool:
        """Whether there are several hosts, of which the primary is wanted."""
        return len(self._hosts) > 1 and self._dsn.target_session_attrs in ("read-write", "primary")

    @property
    def host_name(self) -> str | None:
        """The host that is tried first."""
        return self._hosts[self.first][0]

    async def ask(self, index: int, query: str) -> Any:
        """Return the value of a query to one host, whatever its role; None if it does not answer in time."""
        try:
            async with asyncio.timeout(HOST_SECONDS):
                connection = await self._connect(index, "any")
                try:
                    return await connection.fetchval(query)
                finally:
                    connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return None

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
                self.first = (index + 1) % len(self._hosts)
                if asyncio.get_running_loop().time() - started > HOST_SECONDS / 2:
                    self._report(describe(TimeoutError()))
                raise
            except Exception as error:
                failures.append(error)
            else:
                self.first = index
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
                yield attrs, (self.first + step) % len(self._hosts)

    async def _open(self, index: int, attrs: str) -> Any:
        connection = await self._open_checked(index, attrs)
        if self._is_distributed is None:
            self._is_distributed = await citus.is_present(connection)
            if self._is_distributed and "plan_cache_mode" not in self._dsn.server_settings:
                self._server_settings.pop("plan_cache_mode", None)
                connection.terminate()
                connection = await self._connect(index, attrs)
        connection.is_distributed = self._is_distributed
        return connection

    async def _open_checked(self, index: int, attrs: str) -> Any:
        if not self.pooled:
            try:
                connection = await self._connect(index, attrs)
                plan_mode = self._server_settings.get("plan_cache_mode")
                if self._checked or await pooler.keeps_settings(connection, plan_mode):
                    self._checked = True
                    return connection
            except asyncpg.PostgresError as error:
                if error.sqlstate != "08P01" or "startup parameter" not in str(error):
                    raise
            self._on_pooler_detected()
        connection = await self._connect(index, attrs)
        if not self._limits_checked:
            self._limits_checked = True
            if not await pooler.check_limits(connection):
                return await self._connect(index, attrs)
        if self._prepared is None:
            self._prepared = await pooler.keeps_statements(connection)
            if self._prepared is not False:
                connection.terminate()
                return await self._connect(index, attrs)
        return connection

    def _on_pooler_detected(self) -> None:
        if self._needs_sessions:
            raise CannotConnectError(NEEDS_SESSIONS)
        if not self.pooled:
            self.pooled = True
            log.warning(
                "database_pooler_found",
                detail="The database is behind a transaction pooler: the service's session settings are not sent. Add "
                "pgbouncer=true to DATABASE_URL to make this explicit.",
            )

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
        if self.pooled and not self._prepared:
            arguments["statement_cache_size"] = 0
        elif dsn.statement_cache_size is not None:
            arguments["statement_cache_size"] = dsn.statement_cache_size
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
