"""Fair shares: a user with many requests queues behind their own, never in front of other users'."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

from todo_service.errors import Overloaded

USER: ContextVar[str | None] = ContextVar("USER", default=None)  # the user of the current request, once authenticated
TOO_MUCH = "You ask for too much at once. Wait for some answers, then try again."


class PerUserSemaphore:
    """A semaphore with `limit` slots for each user; requests without a user are not limited."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._semaphores: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, user_id: str | None, *, seconds: float) -> AsyncIterator[None]:
        """Hold one of the user's slots for the block. Raises `TimeoutError` if none is free within `seconds`."""
        if user_id is None:
            yield
            return
        semaphore = self._semaphores.get(user_id)
        if semaphore is None:
            semaphore = self._semaphores[user_id] = asyncio.Semaphore(self._limit)
        await asyncio.wait_for(semaphore.acquire(), seconds)
        try:
            yield
        finally:
            semaphore.release()


class PerUserByteBudget:
    """A budget of `total` bytes, of which one user may reserve `per_user`; a single reservation is always granted."""

    def __init__(self, *, total: int, per_user: int) -> None:
        self._total = total
        self._per_user = per_user
        self._reserved: Counter[str | None] = Counter()

    @contextmanager
    def reserve(self, user_id: str | None, size: int) -> Iterator[None]:
        """Reserve `size` bytes for the block. Raises `Overloaded` if the budget does not allow it."""
        own, everyones = self._reserved[user_id], self._reserved.total()
        if (own and own + size > self._per_user) or (everyones and everyones + size > self._total):
            raise Overloaded(TOO_MUCH)
        self._reserved[user_id] += size
        try:
            yield
        finally:
            self._reserved[user_id] -= size
            if not self._reserved[user_id]:
                del self._reserved[user_id]
