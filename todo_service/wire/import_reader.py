"""The thread that reads imported files."""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from todo_service.config.settings import Settings
from todo_service.errors import Overloaded
from todo_service.limits.fair_share import PerUserSemaphore
from todo_service.wire import transfers
from todo_service.wire.transfers import ImportQuery, ReadFile

THREADS = 1
MAX_WAITING = 8  # files in the queue, and of one user before it
TOO_MANY = "Too many imports at once. Wait as long as `Retry-After` says and try again."


class ImportReader:
    """Reads files in a thread with a bounded queue, so that the event loop is free.

    Each user has one place in the queue: the file of another one waits for one of theirs at most.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="import")
        self._places = PerUserSemaphore(1)
        self._queued = 0
        self._waiting: Counter[str] = Counter()

    async def read(self, raw: bytes, media_type: str, query: ImportQuery, *, user_id: str) -> ReadFile:
        """Read a file as `read` does. Raises also `Overloaded`, when the queue or the user's share of it is full."""
        if self._waiting[user_id] == MAX_WAITING:
            raise Overloaded(TOO_MANY)
        self._waiting[user_id] += 1
        try:
            await self._places.acquire(user_id)
            try:
                return await self._read_next(raw, media_type, query)
            finally:
                self._places.release(user_id)
        finally:
            self._waiting[user_id] -= 1
            if not self._waiting[user_id]:
                del self._waiting[user_id]

    async def _read_next(self, raw: bytes, media_type: str, query: ImportQuery) -> ReadFile:
        if self._queued == MAX_WAITING:
            raise Overloaded(TOO_MANY)
        self._queued += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, transfers.read, raw, media_type, query, self._settings)
        finally:
            self._queued -= 1

    async def open(self) -> None:
        """Do nothing: the thread starts with the first file."""

    async def close(self) -> None:
        """Let the current file be read to its end and drop the waiting ones."""
        self._threads.shutdown(wait=False, cancel_futures=True)


IMPORT_READER = web.AppKey("import_reader", ImportReader)
