"""Requests that wait until their user's tasks change.

One statement a second asks for the stamps of all users with such a request, whatever their number; a change that this
process makes wakes them at once. Each waits with the stamp of the state that it knows, and is woken by any other
one, so nothing is missed between its reading and its waiting, whichever process makes the change. It needs no message
between processes, hence no session of the database.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from todo_service.auth.caller import OWNER
from todo_service.errors import Overloaded, TooManyStreams
from todo_service.limits.load import Load
from todo_service.observability.request_record import RECORD
from todo_service.postgres.database import Database
from todo_service.postgres.failures import is_unavailable
from todo_service.queries import clocks
from todo_service.queries.task_lists import Stamp

POLL_SECONDS = 1.0
MAX_OF_USER = 10

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Waiter:
    stamp: Stamp | None
    is_woken: asyncio.Event = field(default_factory=asyncio.Event)


class ChangeWatch:
    """The waiting requests of one process.

    Attributes:
        waiting: Them by user; empty while there are none.
        is_closing: Whether the process ends: nothing waits any more.

    Args:
        most: Requests at once.
    """

    def __init__(self, database: Database, load: Load, *, most: int) -> None:
        self._database = database
        self._load = load
        self._most = most
        self._count = 0
        self._of_user: dict[str, int] = {}
        self.waiting: dict[str, set[_Waiter]] = {}
        self._of_connection: dict[object, _Waiter] = {}
        self.is_closing = False

    @contextmanager
    def place(self, owner_id: str) -> Iterator[None]:
        """Take a place for a request that will wait, which is no busy request meanwhile.

        Raises:
            TooManyStreams: The user has `MAX_OF_USER`.
            Overloaded: The process has `most`, or ends.
        """
        of_user = self._of_user.get(owner_id, 0)
        if of_user >= MAX_OF_USER:
            raise TooManyStreams
        if self._count >= self._most or self._load.draining:
            raise Overloaded
        self._count += 1
        self._of_user[owner_id] = of_user + 1
        try:
            yield
        finally:
            self._count -= 1
            self._of_user[owner_id] -= 1
            if not self._of_user[owner_id]:
                del self._of_user[owner_id]

    async def wait(self, request: web.Request, stamp: Stamp | None, seconds: float) -> bool:
        """Wait until the tasks of the request's owner may have another stamp, or its client goes, at most `seconds`.

        Returns whether one of the two has happened.
        """
        if self.is_closing:
            return False
        waiter, owner_id, connection = _Waiter(stamp), request[OWNER], request.protocol
        self.waiting.setdefault(owner_id, set()).add(waiter)
        self._of_connection[connection] = waiter
        began = time.perf_counter()
        try:
            with self._load.wait():
                async with asyncio.timeout(seconds):
                    await waiter.is_woken.wait()
        except TimeoutError:
            pass
        finally:
            if (record := RECORD.get()) is not None:
                record.waited += time.perf_counter() - began
            del self._of_connection[connection]
            self.waiting[owner_id].discard(waiter)
            if not self.waiting[owner_id]:
                del self.waiting[owner_id]
        return waiter.is_woken.is_set()

    def leave(self, connection: object) -> None:
        """Wake the request of a connection that is lost, so that its place is free at once."""
        if (waiter := self._of_connection.get(connection)) is not None:
            waiter.is_woken.set()

    def wake(self, owner_ids: Iterable[object]) -> None:
        """Wake the requests of users with tasks that this process has changed."""
        for owner_id in owner_ids:
            for waiter in self.waiting.get(str(owner_id), ()):
                waiter.is_woken.set()

    async def follow(self) -> None:
        """Look for changes of other processes for ever; while the database is down the requests go on waiting."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self._load.draining:
                self.is_closing = True
                self.wake(list(self.waiting))
            elif self.waiting:
                try:
                    await self._look()
                except Exception as error:
                    if not is_unavailable(error):
                        log.exception("changes_not_watched")

    async def _look(self) -> None:
        owners = frozenset(self.waiting)
        async with self._database.shared_connection(self._database.longest, owners) as db:
            stamps = await clocks.select_stamps(db, owners)
        for owner_id, waiters in self.waiting.items():
            for waiter in waiters:
                if owner_id in owners and stamps.get(owner_id) != waiter.stamp:
                    waiter.is_woken.set()


CHANGE_WATCH = web.AppKey("change_watch", ChangeWatch)
