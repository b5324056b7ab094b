"""Moving windows with the `limits` library: its strategy, and a storage for it in the memory of one process.

The library's own storages read the wall clock, and the one in memory looks through all keys for each request. The time
here is that of the machine's running clock, so setting the wall clock changes nothing. Keys are in the order of their
last admission: who has been away for a whole window is at the front, and each admission takes two of them away.
"""

import time
from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import NamedTuple, Never

from limits import RateLimitItem, WindowStats
from limits.aio.storage import MovingWindowSupport, Storage
from limits.aio.strategies import MovingWindowRateLimiter

MAX_KEYS = 100_000  # about 30 MB, and 0.8 MB more for each moment that all of them have
_FORGOTTEN_AT_ONCE = 2


class Window(NamedTuple):
    """How a window stands: whether what was to be added was, the moment of the oldest (or now), how many there are."""

    admitted: bool
    oldest: float
    used: int


class MovingWindows(Storage, MovingWindowSupport):
    """A storage of moving windows, and of nothing else: what the library's other strategies would keep is refused.

    Moments are seconds of `time.monotonic`.
    """

    STORAGE_SCHEME = None
    base_exceptions = ConnectionError

    @abstractmethod
    async def window(self, key: str, limit: int, expiry: float, amount: int) -> Window:
        """Add `amount` to the window of the last `expiry` seconds if then there are no more than `limit` in it, and say
        how it stands. Raises `ConnectionError` if the storage is away.
        """

    async def acquire_entry(self, key: str, limit: int, expiry: float, amount: int = 1) -> bool:
        """Add `amount`, if there is room."""
        return (await self.window(key, limit, expiry, amount)).admitted

    async def get_moving_window(self, key: str, limit: int, expiry: float) -> tuple[float, int]:
        """The moment of the oldest, or now, and how many there are."""
        _, oldest, used = await self.window(key, limit, expiry, 0)
        return oldest, used

    async def check(self) -> bool:
        """Whether the storage is there."""
        return True

    async def incr(self, *_: object, **__: object) -> Never:
        raise NotImplementedError("moving windows only")

    get = get_expiry = reset = clear = incr


class MovingWindowLimiter(MovingWindowRateLimiter):
    """The library's strategy, which asks twice for what an answer has to say; this one asks once."""

    def __init__(self, storage: MovingWindows) -> None:
        super().__init__(storage)
        self.windows = storage

    async def spend(self, item: RateLimitItem, *identifiers: str) -> tuple[bool, WindowStats]:
        """What `hit` says, and what `get_window_stats` says of the same moment."""
        seconds = item.get_expiry()
        admitted, oldest, used = await self.windows.window(item.key_for(*identifiers), item.amount, seconds, 1)
        return admitted, WindowStats(oldest + seconds, item.amount - used)


class Windows(MovingWindows):
    """Windows in memory; of more than `max_keys` of one length the one admitted longest ago begins anew."""

    def __init__(self, *, max_keys: int = MAX_KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._max_keys = max_keys
        self._clock = clock
        self._by_length: defaultdict[float, OrderedDict[str, array[float]]] = defaultdict(OrderedDict)

    def __len__(self) -> int:
        return sum(map(len, self._by_length.values()))

    async def window(self, key: str, limit: int, expiry: float, amount: int) -> Window:
        """A refusal is not counted."""
        windows, now = self._by_length[expiry], self._clock()
        moments = windows.get(key) or array("d")
        del moments[: bisect_right(moments, now - expiry)]
        admitted = len(moments) + amount <= limit
        if admitted and amount:
            moments.extend([now] * amount)
            windows[key] = moments
            windows.move_to_end(key)
            self._forget(windows, now - expiry)
        return Window(admitted, moments[0] if moments else now, len(moments))

    def _forget(self, windows: "OrderedDict[str, array[float]]", before: float) -> None:
        for _ in range(_FORGOTTEN_AT_ONCE):
            key, moments = next(iter(windows.items()))
            if len(windows) > self._max_keys or not moments or moments[-1] <= before:
                del windows[key]
