"""Refusals that hold for a while whatever others do, so that nobody needs to ask for them again."""

import time
from typing import NamedTuple

from todo_service.limits.rate_memory import Window

MOST = 10_000  # about 3 MB


class _Refusal(NamedTuple):
    window: Window
    until: float


class Refusals:
    """Windows that have no room for one more until their oldest moment leaves them; `MOST` of them."""

    def __init__(self) -> None:
        self._by_key: dict[str, _Refusal] = {}

    def remember(self, key: str, window: Window, *, until: float) -> None:
        """That there is no room `until` then, a moment of `time.monotonic`."""
        self._by_key[key] = _Refusal(window, until)
        if len(self._by_key) > MOST:
            del self._by_key[next(iter(self._by_key))]

    def get(self, key: str) -> Window | None:
        """How it stands; None if there may be room."""
        refusal = self._by_key.get(key)
        return refusal.window if refusal and time.monotonic() < refusal.until else None

    def clear(self) -> None:
        """Know nothing."""
        self._by_key.clear()
