"""Moving windows in memory: how often something happened in the last minute, to the moment.

Time is that of the machine's running clock, so setting the wall clock changes nothing. The keys are in the order of
their last admission: who has been away for a whole window is at the front, and each question takes two of them away.
"""

import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

SECONDS = 60
MAX_KEYS = 100_000  # about 30 MB
_FORGOTTEN_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Spent:
    """Whether one more was admitted, how many more would be now, and in how many seconds there is one more of them."""

    admitted: bool
    remaining: int
    reset: float


class Windows:
    """A window of so many `seconds` for each key; of more than `max_keys` the one whose last admission is longest ago
    begins anew.
    """

    def __init__(
        self, seconds: float = SECONDS, *, max_keys: int = MAX_KEYS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._max_keys = max_keys
        self._clock = clock
        self._times: OrderedDict[str, array[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    def spend(self, key: str, quota: int) -> Spent:
        """Admit one more if there were fewer than `quota` (at least 1) in the window; a refusal is not counted."""
        now = self._clock()
        times = self._times.get(key) or array("d")
        del times[: bisect_right(times, now - self._seconds)]
        admitted = len(times) < quota
        if admitted:
            times.append(now)
            self._times[key] = times
            self._times.move_to_end(key)
        self._forget(now)
        return Spent(admitted, max(0, quota - len(times)), times[0] + self._seconds - now)

    def _forget(self, now: float) -> None:
        for _ in range(_FORGOTTEN_AT_ONCE):
            key, times = next(iter(self._times.items()))
            if len(self._times) > self._max_keys or times[-1] <= now - self._seconds:
                del self._times[key]
