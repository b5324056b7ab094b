"""The connection pool: a connection within a bounded time, or an error that becomes 503.

The service never changes session state, so a connection goes back without a round trip to reset it. All deadlines are
set here: a request waits for PostgreSQL at most `acquire_timeout` and 9/10 of `statement_timeout` together, whether the
server is frozen or not.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog
from aiohttp import web

from todo_service.config.database_options import DatabaseOptions
from todo_service.limits.fair_share import USER, PerUserSemaphore
from todo_service.observability.metrics import Metrics
from todo_service.postgres.connector import CLOSE_SECONDS, CannotConnectError, Connection, Connector
from todo_service.postgres.failures import FAILOVER_STATES, is_unavailable

CANCEL_SECONDS = 0.2
SELECT_ONE = "SELECT 1"
OWN_STATEMENTS = {SELECT_ONE: "ping", "BEGIN;": "begin", "COMMIT;": "commit", "ROLLBACK;": "rollback"}

log = structlog.get_logger()


@dataclass(slots=True)
class Timing:
    """The database time of one request: seconds spent waiting for statements, and their number."""

    seconds: float = 0.0
    statements: int = 0


TIMING: ContextVar[Timing | None] = ContextVar("TIMING", default=None)


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
        self._queue = asyncio.Semaphore(options.pool_max)
        self._names = OWN_STATEMENTS | dict(statement_names or {})
        self._connector = Connector(
            options.dsn,
            server_settings=options.server_settings,
            command_timeout=options.statement_timeout,
            on_query=self._on_query,
        )
        self._pool: Any = None
        self._floor_task: asyncio.Task[None] | None = None
        self._abandoned: set[asyncio.Task[None]] = set()
        self._shares = PerUserSemaphore(max(1, options.pool_max // 2))
        self._longest = options.acquire_timeout + 0.9 * options.statement_timeout

    async def open(self) -> None:
        """Create the pool and one connection. An absent PostgreSQL is logged, not raised, and tried again for ever."""
        for note in self._options.dsn.notes:
            log.info("database_url_note", note=note)
        if self._options.must_encrypt and self._options.dsn.may_be_plain:
            log.warning(
                "database_may_be_unencrypted",
                detail="Data can be read on the way; add sslmode=verify-full (or at least require) to DATABASE_URL.",
            )
        # asyncpg's own floor (min_size) fails to start without PostgreSQL and logs a traceback for each retry.
        self._pool = await asyncpg.create_pool(
            connect=self._connector,
            reset=_keep_session,
            min_size=0,
            max_size=self._options.pool_max,
            max_inactive_connection_lifetime=self._options.recycle,
        )
        await self._check_one(self._options.acquire_timeout)
        if self._options.pool_min:
            self._floor_task = asyncio.create_task(self._keep_floor(), name="database floor")

    async def close(self) -> None:
        """Return and close all connections, by force after five seconds."""
        if self._floor_task is not None:
            self._floor_task.cancel()
            await asyncio.wait([self._floor_task])
            self._floor_task = None
        if self._abandoned:
            await asyncio.wait(self._abandoned)
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
            except Exception as error:
                pool.terminate()
                log.warning("database_connections_closed_by_force", reason=type(error).__name__)

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Borrow a connection for the block; the wait and the block are bounded and end in an unavailable error.

        One user holds at most half of the connections; their further requests queue behind their own.
        """
        return self._borrow(self._options.acquire_timeout, self._longest)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Borrow a connection inside BEGIN and COMMIT. After a `TimeoutError` out of COMMIT the outcome is unknown."""
        async with self._borrow(self._options.acquire_timeout, self._longest) as db:
            transaction = db.transaction()
            await transaction.start()
            try:
                yield db
            except (TimeoutError, asyncio.CancelledError):
                raise  # The connection is thrown away; a ROLLBACK would wait for the frozen server once more.
            except BaseException as error:
                await _roll_back(db, transaction, error)
                raise
            await transaction.commit()

    async def ping(self) -> bool:
        """Return whether PostgreSQL answers one round trip within the acquire timeout."""
        return await self._check_one(self._options.acquire_timeout)

    def measure_pool(self) -> None:
        """Set the gauges of the pool."""
        if (pool := self._pool) is not None:
            self._metrics.pool_size.set(pool.get_size())
            self._metrics.pool_free.set(pool.get_idle_size())

    @asynccontextmanager
    async def _borrow(self, acquire_seconds: float, longest: float) -> AsyncIterator[Any]:
        if (pool := self._pool) is None:
            raise CannotConnectError("The database is not opened.")
        db = None
        try:
            async with asyncio.timeout(longest), self._shares.slot(USER.get(), seconds=acquire_seconds):
                db = await self._acquire(pool, acquire_seconds)
                yield db
        except (TimeoutError, asyncio.CancelledError):
            if db is not None:
                self._abandon(pool, db)
                db = None
                await asyncio.sleep(0)  # asyncpg logs a statement in the loop's next turn; `TIMING` is read soon
            raise
        except asyncpg.PostgresError as error:
            if error.sqlstate in FAILOVER_STATES:
                await pool.expire_connections()
            raise
        finally:
            if db is not None:
                await self._release(pool, db)

    async def _acquire(self, pool: Any, seconds: float) -> Any:
        """First come, first served: in asyncpg's own queue late comers overtake, and under load some wait too long."""
        with self._metrics.pool_waiters.track_inprogress(), self._metrics.acquire.time():
            async with asyncio.timeout(seconds):
                await self._queue.acquire()
                try:
                    return await pool.acquire()
                except BaseException:
                    self._queue.release()
                    raise

    async def _release(self, pool: Any, db: Any) -> None:
        try:  # the outcome of the block counts, not whether its connection can be returned
            await pool.release(db)
        except Exception:
            _terminate(db)
        finally:
            self._queue.release()

    def _abandon(self, pool: Any, db: Any) -> None:
        """Throw a connection away in the background: waiting for its cancellation would double the caller's wait."""

        async def drop() -> None:
            await asyncio.sleep(CANCEL_SECONDS)  # asyncpg's cancel request leaves meanwhile
            _terminate(db)
            await self._release(pool, db)

        task = asyncio.create_task(drop(), name="database abandoned connection")
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)

    async def _check_one(self, seconds: float) -> bool:
        try:
            async with self._borrow(seconds, seconds) as db:
                await db.execute(SELECT_ONE)
        except Exception as error:
            if not is_unavailable(error):
                log.exception("database_check_failed")
            return False
        return True

    async def _keep_floor(self) -> None:
        """Keep `pool_min` connections open and checked, so that no request pays for opening one."""
        hosts = max(1, len(self._options.dsn.hosts))
        patience = (self._options.dsn.connect_timeout or 1.0) * hosts + self._options.statement_timeout
        longest_pause = self._options.recycle / 2
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            alive = all(await asyncio.gather(*(self._check_one(patience) for _ in range(self._options.pool_min))))
            pause = longest_pause if alive else min(longest_pause, 2 * pause + 1, 15)

    def _on_query(self, record: Any) -> None:
        if (timing := TIMING.get()) is not None:
            timing.seconds += record.elapsed
            timing.statements += 1
        name = self._names.get(record.query, "unnamed")
        self._metrics.statement(name, record.elapsed)
        if self._options.echo:
            log.info("statement", name=name, ms=round(record.elapsed * 1000, 3))


DATABASE = web.AppKey("database", Database)


async def _keep_session(_: Any) -> None:
    """Reset nothing when a connection returns to the pool, without a round trip."""


def _terminate(db: Any) -> None:
    with suppress(asyncpg.InterfaceError):  # a lost connection no longer belongs to us
        db.terminate()


async def _roll_back(db: Any, transaction: Any, error: BaseException) -> None:
    """Roll back, or throw the connection away: no other request may get it inside a transaction."""
    try:
        await transaction.rollback()
    except Exception as failure:
        _terminate(db)
        error.add_note(f"The transaction could not be rolled back: {type(failure).__name__}")
