"""Cached answers to lists, each with the stamp of the tasks it was made from.

An answer is used again only if PostgreSQL confirms its stamp, so it is never stale. Only answers that depend on nothing
but the tasks and the query are cached, never on the time.
"""

from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDict

from todo_service.postgres.batched_reads import BatchedReads
from todo_service.queries.task_lists import Stamp

MAX_BYTES = 64 * 1024 * 1024  # in each worker
OVERHEAD = 1500  # bytes for the headers and the objects around an answer

# The name of the family, the owner, the query as it was sent, the path prefix; and whether gzip is wanted, as a text.
Key = tuple[str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class CachedList:
    """The answer to a list: its body, compressed or not, and its headers, made from the tasks of one stamp."""

    stamp: Stamp
    body: bytes
    headers: CIMultiDict[str]


class ListCache:
    """The most recently used answers, at most `max_bytes`; one that would take an eighth of that is not cached."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._answers: OrderedDict[Key, CachedList] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Key) -> CachedList | None:
        """Return the last answer, stale or not."""
        if (answer := self._answers.get(key)) is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: Key, answer: CachedList) -> None:
        """Store an answer in place of the last one."""
        self._drop(key)
        size = _size(key, answer)
        if size > self._max_bytes // 8:
            return
        self._answers[key] = answer
        self.bytes += size
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._answers)))

    def _drop(self, key: Key) -> None:
        if (answer := self._answers.pop(key, None)) is not None:
            self.bytes -= _size(key, answer)


def _size(key: Key, answer: CachedList) -> int:
    return len(answer.body) + sum(map(len, key)) + OVERHEAD


LIST_CACHE = web.AppKey("list_cache", ListCache)
TASK_STAMPS: web.AppKey[BatchedReads[str, Stamp]] = web.AppKey("task_stamps", BatchedReads)
