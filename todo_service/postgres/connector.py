"""One connection: what may be done with it, and how it is opened, to which host, directly or through a pooler.

`Connector` is what the pool of `database.py` calls for each new connection. It holds what is learned while serving:
the last good host, that the other end is a transaction pooler, which trouble was already logged.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import asyncpg
import structlog

from todo_service.config import database_tls, database_url
from todo_service.config.settings import Settings
from todo_service.postgres.failures import told, unavailable

HOST_SECONDS = 1.0
CLOSE_SECONDS = 5.0
SELECT_PLAN_MODE = "SELECT current_setting('plan_cache_mode', true)"
SELECT_LIMITS_NOT_SET = """
    SELECT array_agg(name ORDER BY name) FROM pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout') AND setting = '0'
"""

log = structlog.get_logger()


class Row(Protocol):
    """One row as asyncpg gives it: by position, by column, or as keywords (`TaskRow(**row)`)."""

    def __getitem__(self, key: Any, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def get(self, key: str, default: Any = None, /) -> Any: ...
    def keys(self) -> Iterator[str]: ...
    def values(self) -> Iterator[Any]: ...
    def items(self) -> Iterator[tuple[str, Any]]: ...


class Connection(Protocol):
    """What a query may do with a connection: asyncpg's own, borrowed from the pool or not."""

    async def execute(self, query: str, *args: Any) -> str: ...
    async def executemany(self, command: str, args: Any) -> None: ...
    async def fetch(self, query: str, *args: Any) -> list[Row]: ...
    async def fetchrow(self, query: str, *args: Any) -> Row | None: ...
    async def fetchval(self, query: str, *args: Any, column: int = 0) -> Any: ...
    async def copy_records_to_table(self, table_name: str, *, records: Any, columns: Sequence[str]) -> str: ...
    async def copy_to_table(self, table_name: str, *, source: Any, columns: Sequence[str], schema_name: str) -> str: ...
    def transaction(self) -> AbstractAsyncContextManager[Any]: ...
    def add_termination_listener(self, callback: Callable[[Any], None]) -> None: ...
    def remove_termination_listener(self, callback: Callable[[Any], None]) -> None: ...
    def is_closed(self) -> bool: ...


class CannotConnectError(ConnectionError):
    """No host let us in. The text says why, for the operator's log; it holds no password."""


class Connector:
    """Opens connections to the hosts of `where`, called by the pool once for each.

    `server_settings` are ours for every session; those of the URL win over them. Through a pooler only the URL's own
    and those that PgBouncer tracks are sent. `command_timeout` is seconds, None for no limit. `on_query` gets
    asyncpg's `LoggedQuery` after each statement, in the context of the task that ran it.
    """

    def __init__(
        self,
        where: database_url.Dsn,
        *,
        server_settings: Mapping[str, str],
        command_timeout: float | None,
        on_query: Callable[[Any], None] | None = None,
    ) -> None:
        self.pooled = where.pooled
        self._dsn = where
        self._server_settings = {**server_settings, **where.server_settings}
        self._command_timeout = command_timeout
        self._on_query = on_query
        self._tls = database_tls.context(where)
        self._hosts: tuple[tuple[str | None, int | None], ...] = where.hosts or ((None, None),)
        self._first = 0
        self._checked = False
        self._limits_checked = "statement_timeout" not in server_settings
        self._reported: set[str] = set()

    async def __call__(self, *_: object, **__: object) -> Any:
        """Open a connection to the first host that answers and fits; raise `CannotConnectError` when none does.

        Takes and drops asyncpg's own arguments. A host that used up the caller's patience is tried last next time.
        """
        failures: list[BaseException] = []
        for attrs, index in list(self._candidates()):
            started = asyncio.get_running_loop().time()
            try:
                connection = await self._open(index, attrs)
            except asyncio.CancelledError:
                self._first = (index + 1) % len(self._hosts)
                if asyncio.get_running_loop().time() - started > HOST_SECONDS / 2:
                    self._report(told(TimeoutError()))
                raise
            except Exception as error:
                failures.append(error)
            else:
                self._first = index
                self._recovered(index)
                if self._on_query is not None:
                    connection.add_query_logger(self._on_query)
                return connection
        worst = next((error for error in failures if isinstance(error, asyncpg.PostgresError)), failures[-1])
        self._report(reason := told(worst))
        raise CannotConnectError(reason) from worst

    def _candidates(self) -> Iterator[tuple[str, int]]:
        wanted = self._dsn.target_session_attrs
        for attrs in ("standby", "any") if wanted == "prefer-standby" else (wanted,):
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
            self._found_pooler()
        connection = await self._connect(index, attrs)
        if not self._limits_checked:
            self._limits_checked = True
            if not await self._told_of_limits(connection):
                return await self._connect(index, attrs)
        return connection

    def _found_pooler(self) -> None:
        if not self.pooled:
            self.pooled = True
            log.warning(
                "database_pooler_found",
                detail="The database is behind a transaction pooler: statements are not kept prepared and the "
                "service's session settings are not sent. Add pgbouncer=true to DATABASE_URL to say so.",
            )

    async def _keeps_settings(self, connection: Any) -> bool:
        """Whether the session got what was sent; a pooler that drops it also breaks prepared statements."""
        try:
            mode = await _asked(connection, SELECT_PLAN_MODE)
        except asyncpg.InvalidSQLStatementNameError:  # it was prepared on another one; this is closed
            return False
        if mode is None or mode == self._server_settings.get("plan_cache_mode", mode):
            return True
        connection.terminate()
        return False

    async def _told_of_limits(self, connection: Any) -> bool:
        """Say which time limits nobody keeps in the database, since through a pooler ours are not sent. False if it
        does not answer, and the connection is closed: a busy pooler is no reason to have none.
        """
        try:
            limits = await _asked(connection, SELECT_LIMITS_NOT_SET)
        except Exception as error:
            if not unavailable(error):
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
        where, sent = self._dsn, dict(self._server_settings)
        if self.pooled:
            tracked = {"application_name", "timezone", *where.server_settings}
            sent = {name: value for name, value in sent.items() if name in tracked}
        extra: dict[str, Any] = {"statement_cache_size": 0} if self.pooled else {}
        return await asyncpg.connect(
            host=host,
            port=port,
            user=where.user,
            password=where.password,
            passfile=where.passfile,
            database=where.database,
            ssl=self._tls,
            direct_tls=where.direct_tls,
            target_session_attrs=attrs,
            server_settings=sent,
            timeout=where.connect_timeout or HOST_SECONDS,
            command_timeout=self._command_timeout,
            **extra,
        )

    def _report(self, reason: str) -> None:
        """Log each trouble once until a connection is had again: the pool retries with every request."""
        if reason not in self._reported:
            self._reported.add(reason)
            log.error("database_unreachable", reason=reason)

    def _recovered(self, index: int) -> None:
        if self._reported:
            self._reported.clear()
            log.info("database_reachable_again", host=self._hosts[index][0])


async def _asked(connection: Any, query: str) -> Any:
    """What a query says of a connection that is being opened, which is closed if it says nothing."""
    try:
        return await connection.fetchval(query, timeout=HOST_SECONDS)
    except BaseException:
        connection.terminate()
        raise


@asynccontextmanager
async def single_connection(settings: Settings, *, url: str | None = None) -> AsyncIterator[Connection]:
    """One connection without pool, deadlines or session settings of the service, for the programs in `bin/`.

    Raises `CannotConnectError` with the reason in words.
    """
    connect = Connector(
        wanted(settings, url),
        server_settings={"application_name": settings.app_name, "timezone": "UTC"},
        command_timeout=None,
    )
    db = await connect()
    try:
        yield db
    finally:
        try:
            await db.close(timeout=CLOSE_SECONDS)
        except (OSError, asyncpg.InterfaceError):
            db.terminate()


def wanted(settings: Settings, url: str | None = None) -> database_url.Dsn:
    """Where to connect: `url` if given, else what the settings say. Raises `ValueError` with one sentence."""
    if url is None:
        if settings.database_url is None:
            raise ValueError("DATABASE_URL is not set")
        url = settings.database_url.get_secret_value()
    return database_url.parse(url)
