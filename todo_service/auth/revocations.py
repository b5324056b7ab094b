"""Access tokens that ended before their expiry: a feed from the database that every worker reads.

Each account has a generation, each access token carries the generation it was issued under, and every event that ends
tokens raises it: no clocks of two machines are compared, and a token issued after the event is valid at once. A token
also names its session, which may end alone, and the epoch of the database, which a restore renews.

One indexed query every `POLL_SECONDS` serves all requests of a worker; while the database is down the last state holds.
A worker that has none yet accepts no credential, and is not ready.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from aiohttp import web

from todo_service.auth.token_cache import TokenCache
from todo_service.auth.tokens import Claims
from todo_service.errors import DatabaseUnavailable
from todo_service.postgres.database import Database
from todo_service.postgres.failures import is_schema_mismatch, is_unavailable
from todo_service.queries import revocations
from todo_service.queries.revocations import Feed, Revocation

POLL_SECONDS = 2
FIRST_SECONDS = 0.25  # until they have been read once, since no credential is accepted before
OVERLAP = timedelta(seconds=30)  # longer than any transaction, so that a late commit is read too
POLLS_PER_LOAD = 600  # about every 20 minutes revocations that no token can carry any more are dropped

log = structlog.get_logger()


class Revocations:
    """The revocations that one worker has read.

    Args:
        lifetime: The longest lifetime of an access token, in seconds.
        caches: Verified callers; those of a user are evicted when a revocation of theirs is read.
    """

    def __init__(self, database: Database, *, lifetime: int, caches: Collection[TokenCache]) -> None:
        self._database = database
        self._memory = lifetime + OVERLAP.total_seconds()
        self._caches = caches
        self._revoked: dict[str, Revocation] = {}
        self._ended: set[UUID] = set()
        self._epoch = 0
        self._read_until: datetime | None = None

    @property
    def epoch(self) -> int:
        """The epoch that access tokens carry. Raises `DatabaseUnavailable` while nothing has been read."""
        if self._read_until is None:
            raise DatabaseUnavailable
        return self._epoch

    def accepts(self, claims: Claims) -> bool:
        """Return whether an access token of ours is still valid. Raises `DatabaseUnavailable` as `is_valid` does."""
        is_valid = self.is_valid(claims.user_id, claims.generation)
        return is_valid and claims.epoch == self._epoch and claims.session_id not in self._ended

    def is_valid(self, user_id: str, generation: int | None) -> bool:
        """Return whether tokens of this user and generation are still valid.

        Credentials of other issuers have no generation. Whether their user was deactivated before the feed's memory is
        asked of the database, when they are seen first.

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

    def is_ended(self, session_id: UUID) -> bool:
        """Return whether a session or a personal access token has ended. Raises `DatabaseUnavailable` as `is_valid`."""
        if self._read_until is None:
            raise DatabaseUnavailable
        return session_id in self._ended

    @property
    def is_loaded(self) -> bool:
        """Whether the revocations have been read."""
        return self._read_until is not None

    async def load(self) -> None:
        """Read every revocation that a token may still carry, and forget the rest."""
        self._take(await self._read(since=None), is_whole=True)

    async def poll(self) -> None:
        """Read the new revocations."""
        self._take(await self._read(since=self._read_until - OVERLAP if self._read_until else None))

    async def follow(self) -> None:
        """Poll for ever, and load now and then. A database that is down is tried again; readiness reports it."""
        for polls in itertools.count(1):
            await asyncio.sleep(POLL_SECONDS if self.is_loaded else FIRST_SECONDS)
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

    def _take(self, feed: Feed, *, is_whole: bool = False) -> None:
        revoked = {revocation.user_id: revocation for revocation in feed.revocations}
        ended = {session.session_id for session in feed.ended_sessions}
        changed = {user_id for user_id, entry in revoked.items() if self._revoked.get(user_id) != entry}
        changed |= {session.user_id for session in feed.ended_sessions if session.session_id not in self._ended}
        for cache in self._caches:
            if feed.epoch != self._epoch:
                cache.clear()
            elif changed:
                cache.evict(changed)
        self._revoked = revoked if is_whole else self._revoked | revoked
        self._ended = ended if is_whole else self._ended | ended
        self._read_until, self._epoch = feed.now, feed.epoch

    async def _read(self, *, since: datetime | None) -> Feed:
        async with self._database.connection(beyond=True) as db:
            return await revocations.select_feed(db, since=since, at_most=self._memory)


REVOCATIONS = web.AppKey("revocations", Revocations)
