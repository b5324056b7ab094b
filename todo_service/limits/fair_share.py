"""Each user's share of what all have in common: whoever asks for much waits behind themselves, not before everybody."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

from todo_service.errors import Overloaded

USER: ContextVar[str | None] = ContextVar("USER", default=None)  # whom the present request is for, once that is known
TOO_MUCH = "You ask for too much at once. Wait for some answers, then try again."


class Turns:
    """At most `each` at a time for each user; None, who is nobody in particular, is not held up."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, user_id: str | None, *, seconds: float) -> AsyncIterator[None]:
        """Wait for a turn and have it for the block. Raises `TimeoutError` if it does not come within `seconds`."""
        if user_id is None:
            yield
            return
        turns = self._turns.get(user_id)
        if turns is None:
            turns = self._turns[user_id] = asyncio.Semaphore(self._each)
        await asyncio.wait_for(turns.acquire(), seconds)
        try:
            yield
        finally:
            turns.release()


class Room:
    """Room for `total` bytes, of which each user has `each`; one thing alone always has room."""

    def __init__(self, *, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._taken: Counter[str | None] = Counter()

    @contextmanager
    def taken(self, user_id: str | None, size: int) -> Iterator[None]:
        """Take `size` bytes for the block. Raises `Overloaded` if there are not so many left."""
        own, all_ = self._taken[user_id], self._taken.total()
        if (own and own + size > self._each) or (all_ and all_ + size > self._total):
            raise Overloaded(TOO_MUCH)
        self._taken[user_id] += size
        try:
            yield
        finally:
            self._taken[user_id] -= size
            if not self._taken[user_id]:
                del self._taken[user_id]
