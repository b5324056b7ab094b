"""The same moving windows in Redis, so that several processes admit no more than one would.

One task has one connection. It takes all questions that have come up meanwhile, asks them in one flight, and hands the
answers out; so a question costs one round trip, and the requests never touch the connection. If Redis fails, or takes
longer than `PATIENCE`, all who wait are told so, and so is everybody until that same task hears from Redis again. The
time is that of Redis: the clocks of the processes do not count.

A refusal holds until the oldest moment leaves its window, whatever others do. So until then it is given again without
asking: who goes on in spite of it costs Redis nothing, and as long as Redis keeps its counts, nobody is admitted or
refused who would not be by Redis.
"""

import asyncio
import re
import time
from contextlib import suppress
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import structlog
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from todo_service.limits.rate_memory import MovingWindows, Window
from todo_service.limits.refusals import Refusals

PATIENCE = 0.045  # seconds that a request waits for a flight: with all else no 50 ms
LOST_SECONDS = 2.0  # after so many more the flight is lost, and Redis away
CONNECT_SECONDS = 2.0
RETRY_SECONDS = 1.0
IDLE_SECONDS = 5.0  # after so long without a question Redis is asked whether it is there
FLIGHT = 500  # questions at once
WARN_SECONDS = 60.0

# In: the key of a list of moments, how many it may hold, for how many milliseconds, and how many are to be added.
# Out: whether they were admitted, how many there are now, and for how many milliseconds the oldest stays.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local limit, window, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
while oldest and (oldest <= now - window or oldest > now + window) do  -- later ones are of a clock since set back
    redis.call('LPOP', KEYS[1])
    oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
end
local used = redis.call('LLEN', KEYS[1])
local admitted = used + amount <= limit
if admitted and amount > 0 then
    for _ = 1, amount do redis.call('RPUSH', KEYS[1], string.format('%.0f', now)) end
    redis.call('PEXPIRE', KEYS[1], window)
    used = used + amount
end
return {admitted and 1 or 0, used, (oldest or now) + window - now}
"""

log = structlog.get_logger()


class Observer(Protocol):
    """Who wants to know how limits fare."""

    def limited(self, name: str) -> None:
        """A request was refused by the limit of this name: `read`, `write`, `auth` or `key-validation`."""

    def redis_up(self, up: bool) -> None:
        """Redis is used from now on, or no longer; told at each change and once at the start."""

    def redis_error(self) -> None:
        """A flight was late or was lost, or an attempt to connect failed."""


class Question(NamedTuple):
    """One that waits for Redis; its answer, that of the script, is None if Redis is away."""

    arguments: tuple[str | int, ...]
    answer: asyncio.Future[list[int] | None]


class SharedWindows(MovingWindows):
    """The windows of all processes that use the Redis at `url`. Raises `ValueError` for a URL that cannot be used."""

    def __init__(self, url: str, observer: Observer) -> None:
        super().__init__()
        self._connection = connection_to(url)
        self._observer = observer
        self._questions: list[Question] = []
        self._asked = asyncio.Event()
        self._refusals = Refusals()
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._warned: float | None = None
        self._told = False
        self._used = False
        self.up = False

    async def open(self) -> None:
        """Look for Redis, for as long as an attempt to connect may take; an absent one is looked for ever after."""
        self._observer.redis_up(False)
        self._task = asyncio.create_task(self._run(), name="shared windows")
        await self._tried.wait()

    async def close(self) -> None:
        """Let go of Redis. Who still waits is told to count for themselves."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def check(self) -> bool:
        """Whether Redis answers."""
        return self.up

    async def window(self, key: str, limit: int, expiry: float, amount: int) -> Window:
        """What `Windows.window` says, for all processes together. Raises `ConnectionError`, after twice `PATIENCE` at
        the latest.
        """
        if not self.up:
            raise ConnectionError
        if amount and (refused := self._refusals.get(key)):
            return refused
        asked = time.monotonic()
        question = Question((key, limit, round(expiry * 1000), amount), asyncio.get_running_loop().create_future())
        self._questions.append(question)
        self._asked.set()
        answer = await question.answer
        if answer is None:
            raise ConnectionError
        admitted, used, stays = answer
        window = Window(bool(admitted), time.monotonic() + stays / 1000 - expiry, used)
        if amount == 1 and not admitted:
            self._refusals.remember(key, window, until=asked + stays / 1000)
        return window

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._connection.connect()  # type: ignore[no-untyped-call]
                    (script,) = await _asked(self._connection, [("SCRIPT", "LOAD", SCRIPT)])
                self._is_up()
                while True:
                    await self._fly(script)
            except Exception as error:  # whatever it is, requests go on
                self._is_away(error)
            finally:
                self.up = False
                self._give_up()
                with suppress(Exception):
                    await self._connection.disconnect(nowait=True)
            await asyncio.sleep(RETRY_SECONDS)

    async def _fly(self, script: str) -> None:
        """Wait for questions and ask them; or, if there are none for long, ask whether Redis is there."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._asked.wait()
        except TimeoutError:
            await self._answers([("PING",)])
            return
        flight = self._questions[:FLIGHT]
        answers = await self._answers([("EVALSHA", script, 1, *question.arguments) for question in flight])
        del self._questions[: len(flight)]
        if not self._questions:
            self._asked.clear()
        for question, answer in zip(flight, answers, strict=True):
            if not question.answer.done():  # whose client has gone, or who did not wait any longer
                question.answer.set_result(answer)

    async def _answers(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """The answers of Redis. While it is late nobody waits for it; `TimeoutError` if it takes `LOST_SECONDS` more.

        Unlike `asyncio.timeout`, this counts as in time what arrived while our own event loop was held up.
        """
        asking = asyncio.ensure_future(_asked(self._connection, commands))
        try:
            await asyncio.wait([asking], timeout=PATIENCE)
            if not asking.done():
                self.up = False
                self._give_up()
                self._observer.redis_error()
                await asyncio.wait([asking], timeout=LOST_SECONDS)
            if not asking.done():
                raise TimeoutError
            answers = asking.result()
        finally:
            asking.cancel()
        self.up = True
        return answers

    def _give_up(self) -> None:
        questions, self._questions = self._questions, []
        self._asked.clear()
        self._refusals.clear()  # it may come back empty
        for question in questions:
            if not question.answer.done():
                question.answer.set_result(None)

    def _is_up(self) -> None:
        self.up = self._used = True
        self._tried.set()
        self._observer.redis_up(True)
        if self._told:
            log.warning("redis_reachable_again", detail="Rate limits are shared again.")
            self._told = False

    def _is_away(self, error: Exception) -> None:
        if self._used:
            self._used = False
            self._observer.redis_up(False)
        self._observer.redis_error()
        self._tried.set()
        now = time.monotonic()
        if self._warned is None or now - self._warned >= WARN_SECONDS:
            detail = "Each process counts for itself; trying again."
            log.warning("redis_unreachable", kind=type(error).__name__, detail=detail)
            self._warned, self._told = now, True


def connection_to(url: str) -> AbstractConnection:
    """A connection, not yet made, to the Redis at `url`. Raises `ValueError` for a URL that cannot be used."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "unix" and not (parts.hostname and re.fullmatch("/?[0-9]*", parts.path)):
            raise ValueError("the library would take the host for localhost, the database for 0")
        pool = ConnectionPool.from_url(
            url, decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None
        )
        made: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    except Exception:  # the library raises many kinds, and repeats the value in them
        raise ValueError(
            "must be an address such as redis://:password@127.0.0.1:6379/0, rediss://… or unix:///run/redis.sock"
        ) from None
    return made


async def _asked(connection: AbstractConnection, commands: list[tuple[Any, ...]]) -> list[Any]:
    """The answers to commands that are sent at once. Raises what the library raises, for an error of Redis too."""
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    return [await connection.read_response() for _ in commands]
