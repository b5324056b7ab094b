"""The stamps of the lists of all waiting requests, read with one statement at a time.

A request that finds no statement under way runs one itself; those that arrive meanwhile wait, and the first of them
runs the next one for all of them. So every stamp is read after its request arrived, and a list that has not changed
costs the database next to nothing, however many clients ask.
"""

import asyncio
import time

from aiohttp import web

from todo_service.observability.request_record import RECORD
from todo_service.postgres.database import Database
from todo_service.queries import clocks
from todo_service.queries.task_lists import Stamp

Waiter = tuple[str, asyncio.Future[Stamp | None]]


class ListStamps:
    """Reads stamps."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading = False
        self._waiters: list[Waiter] = []

    async def read(self, owner_id: str) -> Stamp:
        """Return the present stamp of a user's tasks. Raises the errors of the database, in all within its deadline."""
        deadline = time.monotonic() + self._database.longest
        if self._reading:
            stamp = await self._wait(owner_id)
            if stamp is not None:
                return stamp
        self._reading = True
        others, self._waiters = self._waiters, []
        try:
            async with self._database.shared_connection(deadline - time.monotonic()) as db:
                stamps = await clocks.select_stamps(db, owner_ids=[owner_id, *(other for other, _ in others)])
        except asyncio.CancelledError:  # only this request was given up
            self._waiters = others + self._waiters
            raise
        except Exception as error:
            for _, future in others:
                if not future.done():
                    future.set_exception(error)
            raise
        finally:
            self._hand_over()
        for other, future in others:
            if not future.done():
                future.set_result(stamps[other])
        return stamps[owner_id]

    async def _wait(self, owner_id: str) -> Stamp | None:
        """Return the stamp that another request has read, or None: this one has to read.

        The requests in front of this one arrived before it, so it ends within its own deadline if they do.
        """
        future: asyncio.Future[Stamp | None] = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        self._waiters.append((owner_id, future))
        try:
            stamp = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None and future.result() is None:
                self._hand_over()
            raise
        if (record := RECORD.get()) is not None:
            record.database_seconds += time.perf_counter() - started
            record.statements += stamp is not None
        return stamp

    def _hand_over(self) -> None:
        """Let the first waiter read for those behind it."""
        while self._waiters:
            _, future = self._waiters.pop(0)
            if not future.done():
                future.set_result(None)
                return
        self._reading = False


LIST_STAMPS = web.AppKey("list_stamps", ListStamps)
