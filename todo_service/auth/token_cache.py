"""Tokens whose signature was checked: seen again, one costs a hash instead of a check, until it expires."""

import hashlib
import time
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

MAX_KNOWN = 10_000  # tokens remembered, some 5 MB


class Expiring(Protocol):
    """What a token says, good until `expires_at` in Unix seconds."""

    @property
    def expires_at(self) -> int: ...


T = TypeVar("T", bound=Expiring)


class Verified(Generic[T]):
    """The tokens used most lately, each by its hash; never one past its end, and `MAX_KNOWN` at most."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, token: str) -> T | None:
        """What this very token was found to say, if it still holds."""
        key = _hashed(token)
        known = self._known.get(key)
        if known is None or known.expires_at <= time.time():
            return None
        self._known.move_to_end(key)
        return known

    def add(self, token: str, said: T) -> T:
        """Remember a token that was checked."""
        self._known[_hashed(token)] = said
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return said

    def clear(self) -> None:
        """Forget all: each is checked again."""
        self._known.clear()


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
