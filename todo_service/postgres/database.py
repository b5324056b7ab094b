"""Borrowed connections: one within a bounded time, or an error that becomes 503.

The service never changes session state, so a connection goes back without a round trip to reset it. A request waits for
PostgreSQL at most `acquire_timeout` and 9/10 of `statement_timeout` together, even if the server is frozen.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType

import asyncpg
import structlog
from aiohttp import web

from todo_service.config.database_options import DatabaseOptions
from todo_service.limits.fair_share import PerUserSemaphore
from todo_service.observability.metrics import Metrics
from todo_service.observability.request_record import RECORD
from todo_service.postgres import row_security
from todo_service.postgres.connection import Connection, Deadline, Deadlines, in_transaction
from todo_service.postgres.connector import CLOSE_SECONDS, CannotConnectError, Connector
from todo_service.postgres.failures import FAILOVER_STATES, is_unavailable
from todo_service.postgres.pool import ConnectionPool, PooledConnection
from todo_service.postgres.primary_watch import PrimaryWatch
from todo_service.postgres.row_security import NO_OWNERS, Owners

SELECT_ONE = "SELECT 1"
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED;"
OWN_STATEMENTS = {SELECT_ONE: "ping", BEGIN: "begin", "COMMIT;": "commit", "ROLLBACK;": "rollback"}

log = structlog.get_logger()


class Database:
    """PostgreSQL as the service uses it.

    Args:
        statement_names: The name of each SQL text, for logs and metrics.

    Raises:
        ValueError: The connection string cannot be used; the text is one sentence.
    """

    def __init__(
        self,
        options: DatabaseOptions,
        *,
        statement_names: Mapping[str, str] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._options = options
        self._metrics = metrics or Metrics()
        self._names = OWN_STATEMENTS | dict(statement_names or {})
        self._connector = Connector(
            options.dsn,
            server_settings=options.server_settings,
            on_statement=self._on_statement,
            needs_sessions=options.row_level_security,
        )
        self._pool: ConnectionPool | None = None
        self._floor_task: asyncio.Task[None] | None = None
        self._primary = PrimaryWatch(self._connector)
        self._deadlines = Deadlines()
        self._shares = PerUserSemaphore(max(1, options.pool_max // 2))
        self.longest_statement = options.statement_timeout  # seconds
        self.longest = options.acquire_timeout + 0.9 * options.statement_timeout  # seconds that a request may wait

    async def open(self) -> None:
        """Create the pool and one connection. An absent PostgreSQL is logged, not raised, and tried again for ever."""
        for note in self._options.dsn.notes:
            log.info("database_url_note", note=note)
        if self._options.must_encrypt and self._options.dsn.may_be_plain:
            detail = "Data can be read on the way; add sslmode=verify-full (or at least require) to DATABASE_URL."
            log.warning("database_may_be_unencrypted", detail=detail)
        self._pool = ConnectionPool(
            self._connector.connect, max_size=self._options.pool_max, recycle=self._options.recycle
        )
        self._primary.open(self._pool.expire)
        await self._check_one(self._options.acquire_timeout)
        if self._options.pool_min:
            self._floor_task = asyncio.create_task(self._keep_floor(), name="database floor")

    async def close(self) -> None:
        """Return and close all connections, by force after five seconds."""
        if self._floor_task is not None:
            self._floor_task.cancel()
            await asyncio.wait([self._floor_task])
        await self._primary.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
            except Exception as error:
                pool.terminate()
                log.warning("database_connections_closed_by_force", reason=type(error).__name__)

    def connection(
        self, *, until: float | None = None, beyond: bool = False
    ) -> AbstractAsyncContextManager[Connection]:
        """Borrow a connection for the block; the wait and the block are bounded and end in an unavailable error.

        One user holds at most half of the connections; their further requests queue behind their own. `until` is the
        `deadline` of a request that has waited for the database before; `beyond` opens one more if none is idle.
        """
        record, seconds = RECORD.get(), self.longest if until is None else until - time.monotonic()
        user_id, scope = (record.user_id, record.owners) if record else (None, None)
        loan = _Loan(self, self._options.acquire_timeout, seconds, user_id, scope)
        loan.beyond = beyond
        return loan

    def deadline(self) -> float:
        """Return the moment until which a request of now may wait for the database."""
        return time.monotonic() + self.longest

    def shared_connection(self, seconds: float, owners: Owners) -> AbstractAsyncContextManager[Connection]:
        """Borrow a connection for the requests of several users, for at most `seconds`."""
        return _Loan(self, self._options.acquire_timeout, seconds, None, owners)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Borrow a connection inside BEGIN and COMMIT. After a `TimeoutError` out of COMMIT the outcome is unknown."""
        async with self.connection() as db, in_transaction(db):
            yield db

    async def ping(self) -> bool:
        """Return whether PostgreSQL answers one round trip within the acquire timeout."""
        return await self._check_one(self._options.acquire_timeout)

    def measure_pool(self) -> None:
        """Set the gauges of the pool."""
        if self._pool is not None:
            self._metrics.set_pool(self._pool.size, self._pool.idle, self._pool.waiting)

    async def _check_one(self, seconds: float) -> bool:
        try:
            async with _Loan(self, seconds, seconds, None) as db:
                await db.execute(SELECT_ONE)
        except Exception as error:
            if not is_unavailable(error):
                log.exception("database_check_failed")
            return False
        return True

    async def _keep_floor(self) -> None:
        """Keep `pool_min` connections open and checked, so that no request pays for opening one."""
        patience = self._options.statement_timeout + self._connector.patience
        longest_pause, pause = self._options.recycle / 2, 0.0
        while True:
            await asyncio.sleep(pause)
            alive = all(await asyncio.gather(*(self._check_one(patience) for _ in range(self._options.pool_min))))
            pause = longest_pause if alive else min(longest_pause, 2 * pause + 1, 15)

    def _on_statement(self, text: str, seconds: float) -> None:
        if (record := RECORD.get()) is not None:
            record.database_seconds += seconds
            record.statements += 1
        name = self._names.get(text, "unnamed")
        self._metrics.statement(name, seconds)
        if self._options.echo:
            log.info("statement", name=name, ms=round(seconds * 1000, 3))


class _Loan(Deadline):
    """A borrowed connection for the block of `async with`; see `Database.connection`.

    Its deadline is that of the wait for a connection, then that of the whole block, and meanwhile of each statement.
    """

    __slots__ = ("_acquire_seconds", "_database", "_owners", "_pool", "_pooled", "_seconds", "_user", "beyond")

    _pool: ConnectionPool

    def __init__(
        self, database: Database, acquire_seconds: float, seconds: float, user: str | None, owners: Owners = NO_OWNERS
    ) -> None:
        super().__init__(database._deadlines)
        self._owners = owners
        self.beyond = False
        self._database = database
        self._acquire_seconds = acquire_seconds
        self._seconds = seconds
        self._user = user
        self._pooled: PooledConnection | None = None

    async def __aenter__(self) -> Connection:
        database = self._database
        if database._pool is None:
            raise CannotConnectError("The database is not opened.")
        self._pool = database._pool
        began = self.begin(min(self._acquire_seconds, self._seconds))
        try:
            if not database._shares.take(self._user):
                await database._shares.acquire(self._user)
            try:
                pooled = self._pool.take_idle() or await self._pool.acquire(beyond=self.beyond)
            except BaseException:
                database._shares.release(self._user)
                raise
        except BaseException as error:
            self.end(error)
            raise
        finally:
            database._metrics.acquire.observe(time.monotonic() - began)
        self._pooled = pooled
        self.due = began + self._seconds
        if database._options.row_level_security and pooled.connection.owners != self._owners:
            try:
                await row_security.narrow(pooled.connection, self._owners)
            except BaseException as error:
                await self.__aexit__(type(error), error, None)
                raise
        return pooled.connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._pooled is not None
        try:
            if error is None:
                self._pool.release(self._pooled)
            elif isinstance(error, TimeoutError | asyncio.CancelledError):
                self._deadlines.remove(self)  # else it could cancel the next line
                self._pool.abandon(self._pooled)
                self._database._primary.doubt(timed_out=self._is_overdue)
                await asyncio.sleep(0)  # asyncpg opens its cancel request
            else:
                if isinstance(error, asyncpg.PostgresError) and error.sqlstate in FAILOVER_STATES:
                    self._pool.expire()
                self._pool.release(self._pooled)
        finally:
            self._database._shares.release(self._user)
            self.end(error)

    def is_over(self, moment: float) -> bool:
        since = self._pooled.connection.running_since if self._pooled else None
        return self.due <= moment or (since is not None and since + self._database.longest_statement <= moment)


DATABASE = web.AppKey("database", Database)
