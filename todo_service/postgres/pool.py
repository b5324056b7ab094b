"""The open connections and the requests that wait for one, in order of arrival.

An idle connection is taken at once, without a task, a future or a lock. asyncpg's own pool needs all three for each
connection, and in its queue late comers overtake.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from todo_service.postgres.connection import TimedConnection

CANCEL_SECONDS = 0.2
MAX_USES = 50_000  # a backend grows with its cached plans


@dataclass(slots=True, eq=False)
class PooledConnection:
    """A connection of the pool, with the pool's `generation` when it was opened and the moment it became idle."""

    connection: TimedConnection
    generation: int
    idle_since: float = 0.0
    uses: int = 0


class ConnectionPool:
    """At most `max_size` connections, and those beyond it; an idle one is closed after `recycle` seconds."""

    def __init__(self, connect: Callable[[], Awaitable[TimedConnection]], *, max_size: int, recycle: float) -> None:
        self._connect = connect
        self._max_size = max_size
        self._recycle = recycle
        self._generation = 0
        self._size = 0  # open and being opened
        self._borrowed: set[PooledConnection] = set()
        self._idle: list[PooledConnection] = []  # the last one was returned last
        self._waiters: deque[asyncio.Future[PooledConnection | None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        """Connections that are open or being opened."""
        return self._size

    @property
    def idle(self) -> int:
        """Connections that are open and not in use."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return len(self._waiters)

    def take_idle(self) -> PooledConnection | None:
        """Return an idle connection, if there is one and no request waits."""
        while self._idle and not self._waiters:
            pooled = self._idle.pop()
            if self._is_fit(pooled):
                self._borrowed.add(pooled)
                return pooled
            self._discard(pooled)
        return None

    async def acquire(self, *, beyond: bool = False) -> PooledConnection:
        """Wait for a connection in order of arrival, or open one. Raises the errors of `connect`.

        Args:
            beyond: Open one beyond `max_size` instead of waiting, for work that no load may delay. The next connection
                that is returned is closed for it.
        """
        if not beyond and (self._waiters or self._size >= self._max_size):
            pooled = await self._wait()
            if pooled is not None:
                return pooled
        else:
            self._size += 1
        generation = self._generation  # before: one that is being opened expires too
        try:
            pooled = PooledConnection(await self._connect(), generation)
        except BaseException:
            self._pass_on(None)
            raise
        self._borrowed.add(pooled)
        return pooled

    def release(self, pooled: PooledConnection) -> None:
        """Return a connection; one that is closed, expired, inside a transaction or too many is discarded."""
        self._borrowed.discard(pooled)
        pooled.uses += 1
        is_too_many = self._size > self._max_size
        if self._is_fit(pooled) and not pooled.connection.is_in_transaction() and not is_too_many:
            self._pass_on(pooled)
        else:
            self._discard(pooled)

    def discard(self, pooled: PooledConnection) -> None:
        """Close a borrowed connection by force."""
        self._borrowed.discard(pooled)
        self._discard(pooled)

    def abandon(self, pooled: PooledConnection) -> None:
        """Close a borrowed connection in a moment, when asyncpg's cancel request has left: the caller does not wait."""
        asyncio.get_running_loop().call_later(CANCEL_SECONDS, self.discard, pooled)

    def expire(self) -> None:
        """Close the idle connections now, and those in use when they are returned."""
        self._generation += 1
        while self._idle:
            self._discard(self._idle.pop())

    async def close(self) -> None:
        """Close the idle connections, and wait until those in use have been returned."""
        self._closed = asyncio.get_running_loop().create_future()
        if self._sweep is not None:
            self._sweep.cancel()
        idle, self._idle = self._idle, []
        try:
            await asyncio.gather(*(pooled.connection.close() for pooled in idle))
        except BaseException:
            for pooled in idle:
                _terminate(pooled.connection)
            raise
        self._size -= len(idle)
        if self._size:
            await self._closed

    def terminate(self) -> None:
        """Close every connection by force."""
        for pooled in [*self._borrowed, *self._idle]:
            _terminate(pooled.connection)

    async def _wait(self) -> PooledConnection | None:
        """Wait for a connection, or for None: the place of a closed one, to open another."""
        waiter: asyncio.Future[PooledConnection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                if (pooled := waiter.result()) is not None:
                    self._borrowed.discard(pooled)
                self._pass_on(pooled)
            raise

    def _pass_on(self, pooled: PooledConnection | None) -> None:
        """Give a connection, or the place of a closed one, to the first waiter."""
        while self._waiters and (pooled is not None or self._size <= self._max_size):
            waiter = self._waiters.popleft()
            if not waiter.done():
                if pooled is not None:
                    self._borrowed.add(pooled)
                waiter.set_result(pooled)
                return
        if pooled is None:
            self._size -= 1
            if self._closed is not None and not self._size and not self._closed.done():
                self._closed.set_result(None)
            return
        pooled.idle_since = time.monotonic()
        self._idle.append(pooled)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._recycle, self._close_idle)

    def _close_idle(self) -> None:
        """Close the connections that have been idle for `recycle` seconds; the oldest are at the front."""
        self._sweep = None
        limit = time.monotonic() - self._recycle
        old = [pooled for pooled in self._idle if pooled.idle_since <= limit]
        self._idle = [pooled for pooled in self._idle if pooled.idle_since > limit]
        for pooled in old:
            self._discard(pooled)
        if self._idle:
            pause = min(pooled.idle_since for pooled in self._idle) - limit
            self._sweep = asyncio.get_running_loop().call_later(pause, self._close_idle)

    def _is_fit(self, pooled: PooledConnection) -> bool:
        return (
            pooled.generation == self._generation
            and pooled.uses < MAX_USES
            and self._closed is None
            and not pooled.connection.is_closed()
        )

    def _discard(self, pooled: PooledConnection) -> None:
        _terminate(pooled.connection)
        self._pass_on(None)


def _terminate(connection: TimedConnection) -> None:
    with suppress(asyncpg.InterfaceError):  # a lost connection
        connection.terminate()
