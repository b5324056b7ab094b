"""Fair shares: a user with many requests queues behind their own, never in front of other users'."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from todo_service.errors import Overloaded

GRACE_SECONDS = 10.0
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


@dataclass(slots=True, eq=False)
class Reservation:
    """Reserved bytes of one user. `evict` ends the work that they are for; None while it must not end."""

    user_id: str | None
    size: int
    evict: Callable[[], None] | None
    since: float = field(default_factory=time.monotonic)


class PerUserByteBudget:
    """A budget of `total` bytes, of which one user may reserve `per_user`; a single reservation is always granted.

    Where it is full, a user with more than the newcomer loses their oldest reservation: slow clients of some users
    never keep the others out.
    """

    def __init__(self, *, total: int, per_user: int) -> None:
        self._total = total
        self._per_user = per_user
        self._reservations: list[Reservation] = []

    @contextmanager
    def reserve(self, user_id: str | None, size: int, evict: Callable[[], None] | None = None) -> Iterator[Reservation]:
        """Reserve `size` bytes for the block.

        Args:
            evict: Called if another user needs the bytes, which are theirs from then on.

        Raises:
            Overloaded: The budget does not allow it.
        """
        self._make_room(user_id, size)
        reservation = Reservation(user_id, size, evict)
        self._reservations.append(reservation)
        try:
            yield reservation
        finally:
            if reservation in self._reservations:
                self._reservations.remove(reservation)

    def _make_room(self, user_id: str | None, size: int) -> None:
        own = self._held()[user_id]
        if own and own + size > self._per_user:
            raise Overloaded(TOO_MUCH)
        victims: list[Reservation] = []
        while self._reservations != victims and self._held(victims).total() + size > self._total:
            victim = self._victim(own + size, victims)
            if victim is None:
                raise Overloaded(TOO_MUCH)
            victims.append(victim)
        for victim in victims:
            self._reservations.remove(victim)
            if victim.evict is not None:
                victim.evict()

    def _held(self, apart_from: Collection[Reservation] = ()) -> Counter[str | None]:
        held: Counter[str | None] = Counter()
        for reservation in self._reservations:
            if reservation not in apart_from:
                held[reservation.user_id] += reservation.size
        return held

    def _victim(self, size: int, others: Collection[Reservation]) -> Reservation | None:
        """Return the oldest reservation of the user with most, beside the others, that may go for one of this size: the
        user has more, or as much for longer than `GRACE_SECONDS`.
        """
        held, late = self._held(others), time.monotonic() - GRACE_SECONDS
        evictable = [one for one in self._reservations if one.evict is not None and one not in others]
        victim = max(evictable, key=lambda one: (held[one.user_id], -one.since), default=None)
        if victim is None:
            return None
        is_more = held[victim.user_id] > size or (held[victim.user_id] == size and victim.since < late)
        return victim if is_more else None
