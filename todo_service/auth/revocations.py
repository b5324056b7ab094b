"""Access tokens that no longer hold though they have not expired: a feed of the database, read by every worker.

Each account has a generation, each of our tokens carries the one it was issued under, and each event that ends tokens
raises it: no clocks of two machines are compared, and a token issued after the event is good at once. One indexed
query every `POLL_SECONDS` serves all requests of a worker; while the database is away the last known state holds.
"""

import asyncio
import itertools
from datetime import datetime, timedelta

import structlog
from aiohttp import web

from todo_service.postgres.failures import unavailable, unfit
from todo_service.postgres.pool import Database
from todo_service.queries import users
from todo_service.queries.users import Revocation

POLL_SECONDS = 2
OVERLAP = timedelta(seconds=30)  # longer than any transaction: what commits late is read all the same
POLLS_PER_LOAD = 600  # about every 20 minutes what no token can remember any more is dropped

log = structlog.get_logger()


class Revocations:
    """What one worker knows. `lifetime` is how many seconds an access token can hold."""

    def __init__(self, database: Database, *, lifetime: int) -> None:
        self._database = database
        self._memory = lifetime + OVERLAP.total_seconds()
        self._revoked: dict[str, Revocation] = {}
        self._read_until: datetime | None = None

    def hold(self, user_id: str, generation: int | None) -> bool:
        """Whether tokens of this user and generation have not been ended. What others issued has no generation: there
        only counts that the account is active.
        """
        revocation = self._revoked.get(user_id)
        if revocation is None:
            return True
        if generation is None:
            return revocation.is_active
        if revocation.is_active:
            return generation >= revocation.generation
        return generation > revocation.generation  # issued since, so the account must be active again

    async def load(self) -> None:
        """Read all that a token may still remember and who is inactive, and forget the rest."""
        self._read_until, revoked = await self._read(since=None)
        self._revoked = {revocation.user_id: revocation for revocation in revoked}

    async def poll(self) -> None:
        """Read what is new."""
        since = self._read_until - OVERLAP if self._read_until else None
        self._read_until, revoked = await self._read(since=since)
        self._revoked.update({revocation.user_id: revocation for revocation in revoked})

    async def follow(self) -> None:
        """Load, then poll for ever; a database that is away, or not fit, is tried again: requests tell of that."""
        for polls in itertools.count():
            try:
                await (self.poll() if polls % POLLS_PER_LOAD else self.load())
            except Exception as error:
                if not unavailable(error) and not unfit(error):
                    log.exception("revocations_not_read")
            await asyncio.sleep(POLL_SECONDS)

    async def _read(self, *, since: datetime | None) -> tuple[datetime, list[Revocation]]:
        async with self._database.connection() as db:
            return await users.select_revoked(db, since=since, at_most=self._memory)


REVOCATIONS = web.AppKey("revocations", Revocations)
