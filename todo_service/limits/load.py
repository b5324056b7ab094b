"""The load limit: how many requests this process is handling, and whether it takes one more."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

IDLE_POLL_SECONDS = 0.02
MAX_VITAL = 32  # health checks and scrapes at once


class Load:
    """The load of one application, counted by `middleware/load_limit.py`.

    Attributes:
        draining: Whether shutdown has begun.
        in_flight: Requests being handled.
        waiting: Those of them that wait for their client or for an AI provider and take nothing from other requests.
        vital: Health checks and scrapes being answered, which take no place of the requests above.
        refused: Requests refused so far because the process was full.
    """

    __slots__ = ("draining", "in_flight", "max_busy", "refused", "vital", "waiting")

    def __init__(self, *, max_busy: int) -> None:
        self.draining = False
        self.in_flight = 0
        self.waiting = 0
        self.vital = 0
        self.refused = 0
        self.max_busy = max_busy

    @property
    def busy(self) -> int:
        """Requests that the process is working on."""
        return self.in_flight - self.waiting

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Take the request out of the busy ones while it waits for its client or for an AI provider."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def until_idle(self, seconds: float) -> None:
        """Wait until no request is in flight, at most `seconds`."""
        for _ in range(round(seconds / IDLE_POLL_SECONDS)):
            if not self.in_flight and not self.vital:
                return
            await asyncio.sleep(IDLE_POLL_SECONDS)


LOAD = web.AppKey("load", Load)
