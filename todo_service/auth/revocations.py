"""Access tokens that ended before their expiry: a feed from the database that every worker reads.

Each account has a generation, each access token carries the generation it was issued under, and every event that ends
tokens raises it: no clocks of two machines are compared, and a token issued after the event is valid at once. One
indexed query every `POLL_SECONDS` serves all requests of a worker; while the database is down the last state holds. A
worker that has none yet accepts no credential, and is not ready.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog
from aiohttp import web

from todo_service.auth.token_cache import TokenCache
from todo_service.errors import DatabaseUnavailable
from todo_service.postgres.database import Database
from todo_service.postgres.failures import is_schema_mismatch, is_unavailable
from todo_service.queries import users
from todo_service.queries.users import Revocation

POLL_SECONDS = 2
OVERLAP = timedelta(seconds=30)  # longer than any transaction, so that a late commit is read too
POLLS_PER_LOAD = 600  # about every 20 minutes revocations that no token can carry any more are dropped

log = structlog.get_logger()


class Revocations:
    """The revocations that one worker has read.

    Args:
        lifetime: The longest lifetime of an access token, in seconds.
        token_cache: Verified tokens; those of a user are evicted when a revocation of theirs is read.
    """

    def __init__(self, database: Database, *, lifetime: int, token_cache: TokenCache) -> None:
        self._database = database
        self._memory = lifetime + OVERLAP.total_seconds()
        self._token_cache = token_cache
        self._revoked: dict[str, Revocation] = {}
        self._read_until: datetime | None = None

    def is_valid(self, user_id: str, generation: int | None) -> bool:
        """Return whether tokens of this user and generation are still valid.

        Credentials of other issuers have no generation; they are valid while the account is active.

        Raises:
            DatabaseUnavailable: Nothing has been read yet.
        """
        if self._read_until is None:
            raise DatabaseUnavailable
        revocation = self._revoked.get(user_id)
        if revocation is None:
            return True
        if generation is None:
            return revocation.is_active
        if revocation.is_active:
            return generation >= revocation.generation
        return generation > revocation.generation  # issued since, so the account must be active again

    @property
    def is_loaded(self) -> bool:
        """Whether the revocations have been read."""
        return self._read_until is not None

    async def load(self) -> None:
        """Read every revocation that a token may still carry, and every inactive user; forget the rest."""
        self._read_until, revoked = await self._read(since=None)
        before, self._revoked = self._revoked, {revocation.user_id: revocation for revocation in revoked}
        self._evict(before, revoked)

    async def poll(self) -> None:
        """Read the new revocations."""
        since = self._read_until - OVERLAP if self._read_until else None
        self._read_until, revoked = await self._read(since=since)
        before = self._revoked
        self._revoked = before | {revocation.user_id: revocation for revocation in revoked}
        self._evict(before, revoked)

    async def follow(self) -> None:
        """Poll for ever, and load now and then. A database that is down is tried again; readiness reports it."""
        for polls in itertools.count(1):
            await asyncio.sleep(POLL_SECONDS)
            await self.try_to(self.poll if polls % POLLS_PER_LOAD and self.is_loaded else self.load)

    async def try_to(self, read: Callable[[], Awaitable[None]]) -> None:
        """Load or poll. That the database is down is no error."""
        try:
            await read()
        except Exception as error:
            if not is_unavailable(error) and not is_schema_mismatch(error):
                log.exception("revocations_not_read")

    async def open(self) -> None:
        """Load once before the first request: a token that ended before this process began is refused by it too."""
        await self.try_to(self.load)

    async def close(self) -> None:
        """Do nothing: the database closes its connections."""

    def _evict(self, before: dict[str, Revocation], revoked: list[Revocation]) -> None:
        if changed := {entry.user_id for entry in revoked if before.get(entry.user_id) != entry}:
            self._token_cache.evict(changed)

    async def _read(self, *, since: datetime | None) -> tuple[datetime, list[Revocation]]:
        async with self._database.connection(beyond=True) as db:
            return await users.select_revoked(db, since=since, at_most=self._memory)


REVOCATIONS = web.AppKey("revocations", Revocations)
