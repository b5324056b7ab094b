"""Requests for links for forgotten passwords, answered before the account is read.

So an email with an account and one without take the same time, by construction.
"""

import asyncio
import time
from contextlib import suppress

import structlog
from aiohttp import web

from todo_service.auth.recovery import PASSWORD, Recovery
from todo_service.errors import Overloaded
from todo_service.postgres.database import Database
from todo_service.postgres.failures import is_unavailable
from todo_service.queries import users
from todo_service.queries.audit_log import AuditEntry

MAX_WAITING = 1000
PATIENCE, PAUSE = 600.0, 2.0  # seconds, while the database is down
CLOSE_SECONDS = 2.0

log = structlog.get_logger()


class ResetRequests:
    """The requests that wait, in order of arrival."""

    def __init__(self, database: Database, recovery: Recovery) -> None:
        self._database = database
        self._recovery = recovery
        self._waiting: asyncio.Queue[tuple[str, AuditEntry]] = asyncio.Queue(MAX_WAITING)
        self._open = 0  # with the one that is worked on
        self._task: asyncio.Task[None] | None = None

    def add(self, email_key: str, audit: AuditEntry) -> None:
        """Send a link to the active account with this email, if there is one, outside of the request.

        Raises:
            MailNotConfigured: No mail can be sent here.
            Overloaded: Too many requests wait.
        """
        self._recovery.check(PASSWORD)
        try:
            self._waiting.put_nowait((email_key, audit))
        except asyncio.QueueFull:
            raise Overloaded from None
        self._open += 1

    async def open(self) -> None:
        """Begin to work on the requests."""
        self._task = asyncio.create_task(self._follow(), name="password reset requests")

    async def close(self) -> None:
        """Work on the last requests for a moment."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), CLOSE_SECONDS)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._open:
            log.error("password_resets_dropped", count=self._open, reason="the service ends")

    async def _follow(self) -> None:
        while True:
            email_key, audit = await self._waiting.get()
            try:
                await self._answer(email_key, audit)
                self._open -= 1
            finally:
                self._waiting.task_done()

    async def _answer(self, email_key: str, audit: AuditEntry) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                async with self._database.connection() as db:
                    user = await users.select_by_email_key(db, email_key=email_key)
                if user is not None and user.is_active:
                    await self._recovery.send_reset(user, audit)
                return
            except Exception as error:
                if not is_unavailable(error) or time.monotonic() > until:
                    log.exception("password_reset_dropped")
                    return
            await asyncio.sleep(PAUSE)


RESET_REQUESTS = web.AppKey("reset_requests", ResetRequests)
