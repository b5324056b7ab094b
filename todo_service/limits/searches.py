"""Searches through many long texts, which may take seconds: they must not take the database from other requests."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from todo_service.errors import Overloaded
from todo_service.limits.fair_share import PerUserSemaphore

SLOW_SECONDS = 0.25
REMEMBERED_SECONDS = 600  # how long a user's searches are taken for slow after a slow one
MAX_REMEMBERED = 10_000  # users
MAX_WAITING = 4  # searches of one user
TOO_MANY = "You search too much at once. Wait for some answers, then try again."


class Searches:
    """One search at a time for each user; those of users with a slow one lately share `places`.

    Args:
        places: Slow searches at once, fewer than the connections to the database.
        patience: Seconds that a search waits for its turn.
    """

    def __init__(self, *, places: int, patience: float) -> None:
        self._patience = patience
        self._places = asyncio.Semaphore(places)
        self._turns = PerUserSemaphore(1)
        self._waiting: Counter[str] = Counter()
        self._slow: OrderedDict[str, float] = OrderedDict()

    @asynccontextmanager
    async def turn(self, user_id: str) -> AsyncIterator[None]:
        """Wait for the user's turn and hold it for the block. Raises `Overloaded` if it does not come in time."""
        is_slow = self._slow.get(user_id, 0.0) > time.monotonic()
        await self._enter(user_id, is_slow=is_slow)
        began = time.monotonic()
        try:
            yield
        finally:
            if is_slow:
                self._places.release()
            self._turns.release(user_id)
            self._remember(user_id, time.monotonic() - began)

    async def _enter(self, user_id: str, *, is_slow: bool) -> None:
        if self._waiting[user_id] >= MAX_WAITING:
            raise Overloaded(TOO_MANY)
        self._waiting[user_id] += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire(user_id)
                try:
                    if is_slow:
                        await self._places.acquire()
                except BaseException:
                    self._turns.release(user_id)
                    raise
        except TimeoutError:
            raise Overloaded(TOO_MANY) from None
        finally:
            self._waiting[user_id] -= 1
            if not self._waiting[user_id]:
                del self._waiting[user_id]

    def _remember(self, user_id: str, seconds: float) -> None:
        if seconds > SLOW_SECONDS:
            self._slow[user_id] = time.monotonic() + REMEMBERED_SECONDS
            self._slow.move_to_end(user_id)
            if len(self._slow) > MAX_REMEMBERED:
                self._slow.popitem(last=False)


SEARCHES = web.AppKey("searches", Searches)
