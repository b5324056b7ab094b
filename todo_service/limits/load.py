"""The load limit: how many requests this process is handling, and whether it takes one more."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

IDLE_POLL_SECONDS = 0.02
CALM_SECONDS = 1.0  # without a refusal, until a burst is taken again
SUSTAINED_SHARE = 4  # a fourth of a burst while requests keep coming: more at once make each dearer
MAX_VITAL = 32  # health checks and scrapes at once


class Load:
    """The load of one application, counted by `middleware/load_limit.py`.

    Attributes:
        draining: Whether shutdown has begun.
        in_flight: Requests being handled.
        waiting: Those of them that wait for their client or for an AI provider and take nothing from other requests.
        vital: Health checks and scrapes being answered, which take no place of the requests above.
        refused: Requests refused so far because the process was full.
        max_sustained: Busy requests below which the process is not full.

    Args:
        max_busy: Requests that the process works on in a burst.
    """

    __slots__ = ("_calm_at", "_max_busy", "draining", "in_flight", "max_sustained", "refused", "vital", "waiting")

    def __init__(self, *, max_busy: int) -> None:
        self.draining = False
        self.in_flight = 0
        self.waiting = 0
        self.vital = 0
        self.refused = 0
        self._max_busy = max_busy
        self.max_sustained = max(1, max_busy // SUSTAINED_SHARE)
        self._calm_at = 0.0

    @property
    def busy(self) -> int:
        """Requests that the process is working on."""
        return self.in_flight - self.waiting

    def is_full(self) -> bool:
        """Return whether one more request must be refused.

        A burst is taken up to `max_busy`. Once that was too little, a fourth of it is, until a second has passed in
        which that was enough.
        """
        busy, now = self.in_flight - self.waiting, time.monotonic()
        if busy < self.max_sustained:
            return False
        if busy < self._max_busy and now >= self._calm_at:
            return False
        self._calm_at = now + CALM_SECONDS
        return True

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
