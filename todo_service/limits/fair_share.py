"""Fair shares: a user with many requests queues behind their own, never in front of other users'."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from todo_service.errors import Overloaded

TOO_MUCH = "You ask for too much at once. Wait for some answers, then try again."


class PerUserSemaphore:
    """A semaphore with `limit` slots for each user; requests without a user are not limited."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[str, int] = {}
        self._waiters: dict[str, deque[asyncio.Future[None]]] = {}

    def take(self, user_id: str | None) -> bool:
        """Take one of the user's slots, if one is free."""
        if user_id is None:
            return True
        held = self._held.get(user_id, 0)
        if held < self._limit:
            self._held[user_id] = held + 1
        return held < self._limit

    async def acquire(self, user_id: str | None) -> None:
        """Take one of the user's slots, waiting in order of arrival."""
        if user_id is None or self.take(user_id):
            return
        waiters = self._waiters.setdefault(user_id, deque())
        waiter = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():  # the slot came at the same moment
                self.release(user_id)
            raise

    def release(self, user_id: str | None) -> None:
        """Give a slot back: to the user's request that has waited longest, if one waits."""
        if user_id is None:
            return
        waiters = self._waiters.get(user_id)
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._waiters.pop(user_id, None)
        if self._held[user_id] == 1:
            del self._held[user_id]
        else:
            self._held[user_id] -= 1


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
