"""Sliding windows in Redis: several processes together admit no more than one would.

One task owns one connection. It collects the hits that have arrived meanwhile, sends them in one pipeline and hands out
the answers, so a hit costs one round trip and requests never touch the connection. If Redis fails or takes longer than
`PATIENCE`, all waiting hits raise `ConnectionError`, and so does every later one until the task reaches Redis again.
Time is the clock of Redis; the clocks of the processes do not count.

A refusal stays true until the oldest hit leaves its window. Until then it is repeated from local memory, so a client
that keeps sending costs Redis nothing, and every decision is the one that Redis would make.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import structlog
from redis.asyncio.connection import AbstractConnection

from todo_service.config import redis_url
from todo_service.limits import redis_server
from todo_service.limits.rate_memory import Window

PATIENCE = 0.045  # seconds that a request waits for a pipeline: less than 50 ms with everything else
LOST_SECONDS = 2.0  # after so many more seconds the pipeline is lost and Redis counts as down
CONNECT_SECONDS = 2.0
RETRY_SECONDS = 1.0
IDLE_SECONDS = 5.0  # after so long without a hit Redis is pinged
PIPELINE = 500  # hits at once
WARN_SECONDS = 60.0
MAX_REFUSALS = 10_000  # about 3 MB

# Input: the key of a list of moments, the limit, the window in milliseconds, and the cost.
# Output: whether the hit was admitted, how many hits are counted, and the milliseconds until the oldest one expires.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local limit, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
while oldest and (oldest <= now - window or oldest > now + window) do  -- later ones: the clock was set back since
    redis.call('LPOP', KEYS[1])
    oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
end
local used = redis.call('LLEN', KEYS[1])
local admitted = used + cost <= limit
if admitted and cost > 0 then
    for _ = 1, cost do redis.call('RPUSH', KEYS[1], string.format('%.0f', now)) end
    redis.call('PEXPIRE', KEYS[1], window)
    used = used + cost
end
return {admitted and 1 or 0, used, (oldest or now) + window - now}
"""

log = structlog.get_logger()


class Observer(Protocol):
    """Receives the events of the rate limits, for metrics."""

    def limited(self, name: str) -> None:
        """A request was refused by the limit of this name: `read`, `write`, `auth` or `key-validation`."""

    def redis_up(self, up: bool) -> None:
        """The state of Redis: called once at the start and at each change."""

    def redis_error(self) -> None:
        """A pipeline was late or lost, or an attempt to connect failed."""


class _Hit(NamedTuple):
    """A hit that waits for Redis: the arguments of the script, and its result, or None if Redis is down."""

    arguments: tuple[str | int, ...]
    result: asyncio.Future[list[int] | None]


class _Refusal(NamedTuple):
    window: Window
    until: float


class RefusalCache:
    """Windows without room until their oldest hit expires, at most `MAX_REFUSALS` of them."""

    def __init__(self) -> None:
        self._refusals: dict[str, _Refusal] = {}

    def add(self, key: str, window: Window, *, until: float) -> None:
        """Remember a full window `until` a moment of `time.monotonic`."""
        self._refusals[key] = _Refusal(window, until)
        if len(self._refusals) > MAX_REFUSALS:
            del self._refusals[next(iter(self._refusals))]

    def get(self, key: str) -> Window | None:
        """Return the full window, or None if it may have room."""
        refusal = self._refusals.get(key)
        return refusal.window if refusal and time.monotonic() < refusal.until else None

    def clear(self) -> None:
        """Forget all refusals."""
        self._refusals.clear()


class RedisWindows:
    """The windows of all processes that use the Redis at `url`. Raises `ValueError` for a URL that cannot be used."""

    def __init__(self, url: str, observer: Observer) -> None:
        self._url = redis_url.parse(url)
        self._connection: AbstractConnection | None = None
        self._observer = observer
        self._hits: list[_Hit] = []
        self._wake = asyncio.Event()
        self._refusals = RefusalCache()
        self._attempted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._warned_at: float | None = None
        self._warned = False
        self._was_up = False
        self.up = False

    async def open(self) -> None:
        """Connect, waiting for one attempt; an absent Redis is tried again for ever."""
        self._observer.redis_up(False)
        self._task = asyncio.create_task(self._run(), name="redis windows")
        await self._attempted.wait()

    async def close(self) -> None:
        """Disconnect; waiting hits raise `ConnectionError`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def hit(self, key: str, limit: int, seconds: float, cost: int = 1) -> Window:
        """Count a hit as `MemoryWindows.hit` does, for all processes together.

        Raises:
            ConnectionError: Redis is down or late; at the latest after twice `PATIENCE`.
        """
        if not self.up:
            raise ConnectionError
        if cost and (refused := self._refusals.get(key)):
            return refused
        sent_at = time.monotonic()
        hit = _Hit((key, limit, round(seconds * 1000), cost), asyncio.get_running_loop().create_future())
        self._hits.append(hit)
        self._wake.set()
        result = await hit.result
        if result is None:
            raise ConnectionError
        admitted, used, expires = result
        window = Window(bool(admitted), time.monotonic() + expires / 1000 - seconds, used)
        if cost == 1 and not admitted:
            self._refusals.add(key, window, until=sent_at + expires / 1000)
        return window

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    connection = self._connection = await redis_server.connect(self._url)
                    (script,) = await redis_server.send(connection, [("SCRIPT", "LOAD", SCRIPT)])
                self._on_up()
                while True:
                    await self._send_pipeline(connection, script)
            except Exception as error:  # whatever happens, requests go on
                self._on_down(error)
            finally:
                self.up = False
                self._give_up()
                with suppress(Exception):
                    if self._connection is not None:
                        await self._connection.disconnect(nowait=True)
            await asyncio.sleep(RETRY_SECONDS)

    async def _send_pipeline(self, connection: AbstractConnection, script: str) -> None:
        """Wait for hits and send them; after `IDLE_SECONDS` without one, ping Redis."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            await self._results(connection, [("PING",)])
            return
        hits = self._hits[:PIPELINE]
        results = await self._results(connection, [("EVALSHA", script, 1, *hit.arguments) for hit in hits])
        del self._hits[: len(hits)]
        if not self._hits:
            self._wake.clear()
        for hit, result in zip(hits, results, strict=True):
            if not hit.result.done():  # cancelled with its request, or given up
                hit.result.set_result(result)

    async def _results(self, connection: AbstractConnection, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Send commands and return the results. While Redis is late no request waits for it.

        Unlike `asyncio.timeout`, this accepts a result that arrived while our own event loop was blocked.

        Raises:
            TimeoutError: There was no result within `PATIENCE` and `LOST_SECONDS`.
        """
        sending = asyncio.ensure_future(redis_server.send(connection, commands))
        try:
            await asyncio.wait([sending], timeout=PATIENCE)
            if not sending.done():
                self.up = False
                self._give_up()
                self._observer.redis_error()
                await asyncio.wait([sending], timeout=LOST_SECONDS)
            if not sending.done():
                raise TimeoutError
            results = sending.result()
        finally:
            sending.cancel()
        self.up = True
        return results

    def _give_up(self) -> None:
        hits, self._hits = self._hits, []
        self._wake.clear()
        self._refusals.clear()  # Redis may come back empty
        for hit in hits:
            if not hit.result.done():
                hit.result.set_result(None)

    def _on_up(self) -> None:
        self.up = self._was_up = True
        self._attempted.set()
        self._observer.redis_up(True)
        if self._warned:
            log.warning("redis_reachable_again", detail="Rate limits are shared again.")
            self._warned = False

    def _on_down(self, error: Exception) -> None:
        if self._was_up:
            self._was_up = False
            self._observer.redis_up(False)
        self._observer.redis_error()
        self._attempted.set()
        now = time.monotonic()
        if self._warned_at is None or now - self._warned_at >= WARN_SECONDS:
            detail = "Each process counts for itself; trying again."
            log.warning("redis_unreachable", kind=type(error).__name__, detail=detail)
            self._warned_at, self._warned = now, True
