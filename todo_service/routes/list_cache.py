"""Cached answers to lists, each with the stamp of the tasks it was made from.

An answer is used again only if PostgreSQL confirms its stamp, so it is never stale. Only answers that depend on nothing
but the tasks and the query are cached, never on the time.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from aiohttp import web

from todo_service.queries.task_lists import Stamp

MAX_BYTES = 64 * 1024 * 1024  # in each worker
OVERHEAD = 1500  # bytes for the key and the objects around an answer


@dataclass(frozen=True, slots=True)
class CachedList:
    """The answer to a list: its JSON, the number of matches, and the cursor of the next page, None on the last one."""

    stamp: Stamp
    body: bytes
    total: int
    next_cursor: str | None


class ListCache:
    """The most recently used answers, at most `max_bytes`; one that would take an eighth of that is not cached."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._answers: OrderedDict[Hashable, CachedList] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Hashable) -> CachedList | None:
        """Return the last answer, stale or not."""
        if key in self._answers:
            self._answers.move_to_end(key)
        return self._answers.get(key)

    def put(self, key: Hashable, answer: CachedList) -> None:
        """Store an answer in place of the last one."""
        self._drop(key)
        if _size(answer) > self._max_bytes // 8:
            return
        self._answers[key] = answer
        self.bytes += _size(answer)
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._answers)))

    def _drop(self, key: Hashable) -> None:
        if (answer := self._answers.pop(key, None)) is not None:
            self.bytes -= _size(answer)


def _size(answer: CachedList) -> int:
    return len(answer.body) + OVERHEAD


LIST_CACHE = web.AppKey("list_cache", ListCache)
