"""Which of several hosts is the primary: of two that take writes, the one with the newest timeline.

After a failover that the old primary has missed (it hung, and no watchdog stopped it) there are two. Connections to the
old one go on: reads from it are of the past, and writes wait for a standby that has left. A promotion begins a
timeline, so the higher number is right.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from todo_service.postgres.connector import Connector

CHECK_SECONDS = 10.0
DOUBT_SECONDS = 1.0  # between a time-out and its check, which is one for all time-outs meanwhile
SELECT_TIMELINE = """
SELECT CASE
    WHEN pg_is_in_recovery() THEN 0 ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
END"""

log = structlog.get_logger()


class PrimaryWatch:
    """Leads the connections to the primary with the newest timeline."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._newest_seen = 0
        self._is_in_doubt = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self, on_move: Callable[[], None]) -> None:
        """Begin, if there is a choice.

        Args:
            on_move: Called after another host has become the first that is tried, to open the connections anew.
        """
        if self._connector.has_choice:
            self._task = asyncio.create_task(self._follow(on_move), name="database primary")

    def doubt(self, *, timed_out: bool) -> None:
        """Check soon, if the database has not answered in time: a client that goes away is no reason."""
        if timed_out:
            self._is_in_doubt.set()

    async def close(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _follow(self, on_move: Callable[[], None]) -> None:
        while True:
            if await self._find_newer():
                on_move()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_in_doubt.wait(), CHECK_SECONDS)
                await asyncio.sleep(DOUBT_SECONDS)
            self._is_in_doubt.clear()

    async def _find_newer(self) -> bool:
        """Put the primary with the newest timeline first; return whether another host was."""
        hosts = range(self._connector.host_count)
        answers = await asyncio.gather(*(self._connector.ask(index, SELECT_TIMELINE) for index in hosts))
        timelines = [answer if isinstance(answer, int) else 0 for answer in answers]
        newest = max(timelines)
        present = timelines[self._connector.first]
        if newest < self._newest_seen:  # a primary that is late is no reason to return to the past
            return False
        self._newest_seen = newest
        if present == newest:
            return False
        self._connector.first = timelines.index(newest)
        if present:  # it is still a primary
            log.warning("database_primary_changed", host=self._connector.host_name, timeline=newest)
        return True
