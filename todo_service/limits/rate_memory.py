"""Sliding windows in the memory of one process.

Time is `time.monotonic`, so setting the wall clock changes nothing. Keys are kept in the order of their last admission:
each admission evicts up to two expired windows at the front.
"""

import time
from array import array
from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import NamedTuple

MAX_KEYS = 100_000  # about 30 MB, and 0.8 MB more for each admission that all of them have
_EVICTIONS = 2


class Window(NamedTuple):
    """The state of one window after a hit.

    Attributes:
        admitted: Whether the hit was within the limit; a refused hit is not counted.
        oldest: The moment of the oldest counted hit, or now, in seconds of `time.monotonic`.
        used: How many hits are counted.
    """

    admitted: bool
    oldest: float
    used: int


class MemoryWindows:
    """Sliding windows in memory. Above `max_keys` of one length the key admitted longest ago starts over."""

    def __init__(self, *, max_keys: int = MAX_KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_keys = max_keys
        self._clock = clock
        self._by_length: defaultdict[float, OrderedDict[str, array[float]]] = defaultdict(OrderedDict)

    def __len__(self) -> int:
        return sum(map(len, self._by_length.values()))

    def hit(self, key: str, limit: int, seconds: float, cost: int = 1) -> Window:
        """Count `cost` hits in the window of the last `seconds`, unless there would be more than `limit` in it."""
        windows, now = self._by_length[seconds], self._clock()
        moments = windows.get(key)
        if moments is None:
            moments = array("d")
        elif moments and moments[0] <= now - seconds:
            del moments[: bisect_right(moments, now - seconds)]
        admitted = len(moments) + cost <= limit
        if admitted and cost:
            moments.extend([now] * cost)
            windows[key] = moments
            windows.move_to_end(key)
            for _ in range(_EVICTIONS):
                front, last = next(iter(windows.items()))
                if len(windows) <= self._max_keys and last and last[-1] > now - seconds:
                    break
                del windows[front]
        return Window(admitted, moments[0] if moments else now, len(moments))
