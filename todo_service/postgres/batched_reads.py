"""The reads of all waiting requests, in one statement at a time.

A request that finds no statement under way runs one itself; those that arrive meanwhile wait, and the first of them
runs the next one for all of them. So every value is read after its request arrived, as with a statement of its own, and
the more requests there are, the less each costs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Generic, TypeVar

from todo_service.observability.request_record import RECORD
from todo_service.postgres.connection import Connection
from todo_service.postgres.database import Database

Key = TypeVar("Key")
Value = TypeVar("Value")
SHORT_SECONDS = 0.2  # a request with less time left does not read for others


class BatchedReads(Generic[Key, Value]):
    """Reads the value of a key.

    Args:
        select: Reads the values of several keys; one that it leaves out has none.
        owner: The user that a key belongs to.
    """

    def __init__(
        self,
        database: Database,
        select: Callable[[Connection, Collection[Key]], Awaitable[Mapping[Key, Value]]],
        *,
        owner: Callable[[Key], str],
    ) -> None:
        self._database = database
        self._select = select
        self._owner = owner
        self._is_reading = False
        self._waiters: list[tuple[Key, float, asyncio.Future[Mapping[Key, Value] | None]]] = []

    async def read(self, key: Key) -> Value | None:
        """Return the present value, None if there is none.

        Raises the errors of the database, in all within its deadline.
        """
        deadline = self._database.deadline()
        if self._is_reading and (values := await self._wait(key, deadline)) is not None:
            return values.get(key)
        self._is_reading = True
        others, self._waiters = self._waiters, []
        try:
            keys = {key, *(other for other, _, _ in others)}
            owners = frozenset(map(self._owner, keys))
            async with self._database.shared_connection(deadline - time.monotonic(), owners) as db:
                values = await self._select(db, keys)
        except (asyncio.CancelledError, TimeoutError):  # only this request was given up
            self._waiters = others + self._waiters
            raise
        except Exception as error:
            for _, _, future in others:
                if not future.done():
                    future.set_exception(error)
            raise
        finally:
            self._hand_over()
        for _, _, future in others:
            if not future.done():
                future.set_result(values)
        return values.get(key)

    async def _wait(self, key: Key, deadline: float) -> Mapping[Key, Value] | None:
        """Return the values that another request has read, or None: this one has to read.

        The requests in front of this one arrived before it, so it ends within its own deadline if they do.
        """
        future: asyncio.Future[Mapping[Key, Value] | None] = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        self._waiters.append((key, deadline, future))
        try:
            values = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None and future.result() is None:
                self._hand_over()
            raise
        if (record := RECORD.get()) is not None:
            record.database_seconds += time.perf_counter() - started
            record.statements += values is not None
        return values

    def _hand_over(self) -> None:
        """Let the first waiter with time left read for those behind it."""
        while self._waiters:
            _, deadline, future = self._waiters.pop(0)
            if future.done():
                continue
            if deadline - time.monotonic() > SHORT_SECONDS:
                future.set_result(None)
                return
            future.set_exception(TimeoutError())
        self._is_reading = False
