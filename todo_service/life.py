"""Whether this process still takes requests, and how many it is at."""

import asyncio
from contextlib import suppress

from aiohttp import web


class Life:
    """The state of one application: `draining` once its end has begun, `in_flight` requests being handled."""

    def __init__(self) -> None:
        self.draining = False
        self.in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        """A request is being handled from now on."""
        self.in_flight += 1
        self._idle.clear()

    def end(self) -> None:
        """It no longer is."""
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    async def until_idle(self, seconds: float) -> None:
        """Wait until no request is being handled, `seconds` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()


LIFE = web.AppKey("life", Life)
