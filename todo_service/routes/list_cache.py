"""Answers to lists, kept under the state of the tasks they were made from.

An answer is given again only if PostgreSQL says that this state is still the present one, so it is never stale; kept
are only answers that depend on nothing but the tasks and the question, never on the clock.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from aiohttp import web

from todo_service.queries.task_lists import Stamp

MAX_BYTES = 64 * 1024 * 1024  # in each worker
OVERHEAD = 1500  # bytes for the key and what surrounds an answer


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """The answer to a list: its JSON, how many tasks match, and the cursor of the next page (None: there is none)."""

    stamp: Stamp
    body: bytes
    total: int
    next_cursor: str | None


class Cache:
    """The answers used most lately, `max_bytes` of them; one that would take an eighth of that is not kept."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._answers: OrderedDict[Hashable, ListAnswer] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Hashable) -> ListAnswer | None:
        """What was answered last, whatever happened since."""
        if key in self._answers:
            self._answers.move_to_end(key)
        return self._answers.get(key)

    def put(self, key: Hashable, answer: ListAnswer) -> None:
        """Keep an answer in place of the one before."""
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


def _size(answer: ListAnswer) -> int:
    return len(answer.body) + OVERHEAD


CACHE = web.AppKey("cache", Cache)
