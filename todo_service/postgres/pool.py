"""The pool: a connection within a bounded time, or an error that means 503.

Our code never changes session state, so a connection goes back without a round trip to reset it. All deadlines are
set here, so that no request waits for PostgreSQL longer than `DATABASE_ACQUIRE_TIMEOUT` and 9/10 of
`DATABASE_STATEMENT_TIMEOUT` together, frozen server or not.
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

from todo_service.config.settings import Settings
from todo_service.limits.fair_share import USER, Turns
from todo_service.observability.metrics import Metrics
from todo_service.postgres.connector import CLOSE_SECONDS, CannotConnectError, Connection, Connector, wanted
from todo_service.postgres.failures import FAILOVER_STATES, unavailable

CANCEL_SECONDS = 0.2
LONGEST_IDLE_TRANSACTION_SECONDS = 5.0
SELECT_ONE = "SELECT 1"
OWN_STATEMENTS = {SELECT_ONE: "ping", "BEGIN;": "begin", "COMMIT;": "commit", "ROLLBACK;": "rollback"}

log = structlog.get_logger()


@dataclass(slots=True)
class Timing:
    """What one request asked of PostgreSQL: seconds spent waiting for statements, and how many there were."""

    seconds: float = 0.0
    statements: int = 0


TIMING: ContextVar[Timing | None] = ContextVar("TIMING", default=None)


class Database:
    """PostgreSQL as the service sees it.

    `url` stands in for `settings.database_url`; `statement_names` maps each SQL text to its name in log and metrics.
    Raises `ValueError`, with one sentence, for a URL that cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        url: str | None = None,
        statement_names: Mapping[str, str] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics or Metrics()
        self._turns = asyncio.Semaphore(settings.database_pool_max)
        self._dsn = wanted(settings, url)
        self._names = OWN_STATEMENTS | dict(statement_names or {})
        self._connector = Connector(
            self._dsn,
            server_settings=_server_settings(settings),
            command_timeout=settings.database_statement_timeout,
            on_query=self._count,
        )
        self._pool: Any = None
        self._keeper: asyncio.Task[None] | None = None
        self._abandoned: set[asyncio.Task[None]] = set()
        self._shares = Turns(each=max(1, settings.database_pool_max // 2))
        self._longest = settings.database_acquire_timeout + 0.9 * settings.database_statement_timeout

    async def open(self) -> None:
        """Make the pool and one connection. An absent PostgreSQL is logged, not raised: it is tried again for ever."""
        for note in self._dsn.notes:
            log.info("database_url_note", note=note)
        if self._settings.in_production and self._dsn.may_be_plain:
            log.warning(
                "database_may_be_unencrypted",
                detail="Data can be read on the way; add sslmode=verify-full (or at least require) to DATABASE_URL.",
            )
        # asyncpg's own floor (min_size) fails to start without PostgreSQL and logs a traceback for each retry.
        self._pool = await asyncpg.create_pool(
            connect=self._connector,
            reset=_keep_session,
            min_size=0,
            max_size=self._settings.database_pool_max,
            max_inactive_connection_lifetime=self._settings.database_pool_recycle,
        )
        await self._touch(self._settings.database_acquire_timeout)
        if self._settings.database_pool_min:
            self._keeper = asyncio.create_task(self._keep_floor(), name="database floor")

    async def close(self) -> None:
        """Return and close all connections, by force after five seconds."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
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
        """Borrow a connection for the block; the wait and the block are bounded and end in an `unavailable` error.

        One user has half of all connections at most, and waits for another one behind themselves.
        """
        return self._borrowed(self._settings.database_acquire_timeout, self._longest)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """The same inside BEGIN and COMMIT. A `TimeoutError` out of COMMIT leaves open whether it was done."""
        async with self._borrowed(self._settings.database_acquire_timeout, self._longest) as db:
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
        """Whether PostgreSQL answers one round trip within the acquire timeout."""
        return await self._touch(self._settings.database_acquire_timeout)

    @asynccontextmanager
    async def _borrowed(self, acquire_seconds: float, longest: float) -> AsyncIterator[Any]:
        if (pool := self._pool) is None:
            raise CannotConnectError("The database is not opened.")
        db = None
        try:
            async with asyncio.timeout(longest), self._shares.turn(USER.get(), seconds=acquire_seconds):
                db = await self._acquired(pool, acquire_seconds)
                yield db
        except (TimeoutError, asyncio.CancelledError):
            if db is not None:
                self._abandon(pool, db)
                db = None
                await asyncio.sleep(0)  # asyncpg tells of a statement in the loop's next turn; `TIMING` is read soon
            raise
        except asyncpg.PostgresError as error:
            if error.sqlstate in FAILOVER_STATES:
                await pool.expire_connections()
            raise
        finally:
            if db is not None:
                await self._returned(pool, db)

    async def _acquired(self, pool: Any, seconds: float) -> Any:
        """First come, first served: in asyncpg's own queue late comers overtake, and under load some wait too long."""
        with self._metrics.pool_waiters.track_inprogress(), self._metrics.acquire.time():
            async with asyncio.timeout(seconds):
                await self._turns.acquire()
                try:
                    return await pool.acquire()
                except BaseException:
                    self._turns.release()
                    raise

    async def _returned(self, pool: Any, db: Any) -> None:
        try:  # the block's own outcome counts, not whether its connection can be returned
            await pool.release(db)
        except Exception:
            _terminate(db)
        finally:
            self._turns.release()

    def read_gauges(self) -> None:
        """Measure the pool as it is now."""
        if (pool := self._pool) is not None:
            self._metrics.pool_size.set(pool.get_size())
            self._metrics.pool_free.set(pool.get_idle_size())

    def _abandon(self, pool: Any, db: Any) -> None:
        """Throw a connection away in the background: waiting for its cancellation would double the caller's wait."""

        async def drop() -> None:
            await asyncio.sleep(CANCEL_SECONDS)  # asyncpg's cancel request leaves meanwhile
            _terminate(db)
            await self._returned(pool, db)

        task = asyncio.create_task(drop(), name="database abandoned connection")
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)

    async def _touch(self, seconds: float) -> bool:
        try:
            async with self._borrowed(seconds, seconds) as db:
                await db.execute(SELECT_ONE)
        except Exception as error:
            if not unavailable(error):
                log.exception("database_check_failed")
            return False
        return True

    async def _keep_floor(self) -> None:
        """Keep `DATABASE_POOL_MIN` connections open and known to be alive, so that no request pays for opening one."""
        hosts = max(1, len(self._dsn.hosts))
        patience = (self._dsn.connect_timeout or 1.0) * hosts + self._settings.database_statement_timeout
        calm = self._settings.database_pool_recycle / 2
        delay = 0.0
        while True:
            await asyncio.sleep(delay)
            alive = all(await asyncio.gather(*(self._touch(patience) for _ in range(self._settings.database_pool_min))))
            delay = calm if alive else min(calm, 2 * delay + 1, 15)

    def _count(self, record: Any) -> None:
        if (timing := TIMING.get()) is not None:
            timing.seconds += record.elapsed
            timing.statements += 1
        name = self._names.get(record.query, "unnamed")
        self._metrics.statement(name, record.elapsed)
        if self._settings.database_echo:
            log.info("statement", name=name, ms=round(record.elapsed * 1000, 3))


DATABASE = web.AppKey("database", Database)


def _server_settings(settings: Settings) -> dict[str, str]:
    """Session settings in milliseconds. The server gives up before we do, so a slow statement keeps its connection."""
    statement = settings.database_statement_timeout * 1000
    return {
        "application_name": settings.app_name,
        "timezone": "UTC",
        "plan_cache_mode": "force_generic_plan",
        "jit": "off",
        "statement_timeout": str(int(statement * 0.9)),
        "lock_timeout": str(int(statement * 0.75)),
        "idle_in_transaction_session_timeout": str(int(max(statement, LONGEST_IDLE_TRANSACTION_SECONDS * 1000))),
    }


async def _keep_session(_: Any) -> None:
    """The pool's reset: nothing to undo, no round trip."""


def _terminate(db: Any) -> None:
    with suppress(asyncpg.InterfaceError):  # one that was lost is no longer ours
        db.terminate()


async def _roll_back(db: Any, transaction: Any, error: BaseException) -> None:
    """Roll back, or throw the connection away: nobody may find it inside a transaction."""
    try:
        await transaction.rollback()
    except Exception as failure:
        _terminate(db)
        error.add_note(f"The transaction could not be rolled back: {type(failure).__name__}")
