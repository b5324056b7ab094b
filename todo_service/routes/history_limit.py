"""The most that is kept of one user's past changes, however fast they come: older ones go within seconds."""

import asyncio

import structlog
from aiohttp import web

from todo_service.postgres.database import Database
from todo_service.postgres.failures import is_unavailable
from todo_service.queries import task_changes

MAX_KEPT = 20_000  # changes of a user
CHECK_EVERY = 1_000  # changes
PAUSE = 5.0  # seconds

log = structlog.get_logger()


class HistoryLimit:
    """Deletes the oldest changes of users with too many."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._due: set[str] = set()

    def check(self, owner_id: str) -> None:
        """Have a user's changes counted soon."""
        self._due.add(owner_id)

    async def follow(self) -> None:
        """Count and delete for ever. A database that is down is tried again."""
        while True:
            await asyncio.sleep(PAUSE)
            for owner_id in list(self._due):
                await self._trim(owner_id)

    async def _trim(self, owner_id: str) -> None:
        try:
            async with self._database.transaction() as db:
                await task_changes.trim(db, owner_id=owner_id, keep=MAX_KEPT)
            self._due.discard(owner_id)
        except Exception as error:
            if not is_unavailable(error):
                log.exception("history_not_trimmed", user_id=owner_id)


HISTORY_LIMIT = web.AppKey("history_limit", HistoryLimit)
