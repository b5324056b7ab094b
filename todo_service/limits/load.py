"""Whether this process still takes requests, how many it is at, and whether that is enough."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiohttp import web


class Life:
    """The state of one application: `draining` once its end has begun, `in_flight` requests being handled, of which
    those that wait for their client, or for a provider, are not `busy`; `refused` were more than `most_busy`.
    """

    def __init__(self, *, most_busy: int) -> None:
        self.draining = False
        self.in_flight = 0
        self.refused = 0
        self._most_busy = most_busy
        self._waiting = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def busy(self) -> int:
        return self.in_flight - self._waiting

    @property
    def is_full(self) -> bool:
        """Whether one more request would only make all of them wait longer."""
        return self.busy >= self._most_busy

    def begin(self) -> None:
        """A request is being handled from now on."""
        self.in_flight += 1
        self._idle.clear()

    def end(self) -> None:
        """It no longer is."""
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Of a request that has to wait for somebody outside and takes nothing from others meanwhile."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def until_idle(self, seconds: float) -> None:
        """Wait until no request is being handled, `seconds` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()


LIFE = web.AppKey("life", Life)
