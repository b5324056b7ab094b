"""Users' API keys at rest: what is kept of one says nothing without `ENCRYPTION_KEY`, or in another user's row.

A key is encrypted (Fernet) together with whose it is and of which provider: Fernet knows no associated data, so a
ciphertext that somebody copied into another row would otherwise be given out as that user's key.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web
from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class Place(NamedTuple):
    """The row that a key belongs into: nowhere else can it be read."""

    user_id: str
    provider: str


class KeyBox:
    """Seals API keys under the first of `keys`, which are Fernet keys, and opens what any of them sealed."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._all = MultiFernet([Fernet(key) for key in keys])
        self._first = Fernet(keys[0])

    def seal(self, api_key: str, place: Place) -> str:
        """What is to be kept of a key."""
        return self._all.encrypt(json.dumps([*place, api_key]).encode()).decode()

    def open(self, sealed: str, place: Place) -> str | None:
        """The key; None if no key of ours sealed it, or if it is another place's."""
        return _opened(self._all, sealed, place)

    def is_current(self, sealed: str, place: Place) -> bool:
        """Whether the first key alone opens it."""
        return _opened(self._first, sealed, place) is not None

    def renewed(self, sealed: str, place: Place) -> str | None:
        """The same key sealed under the first of our keys; None if it cannot be opened."""
        return self._all.rotate(sealed.encode()).decode() if self.open(sealed, place) is not None else None


def _opened(keys: Fernet | MultiFernet, sealed: str, place: Place) -> str | None:
    try:
        *owner, api_key = json.loads(keys.decrypt(sealed.encode()))
    except (InvalidToken, ValueError, TypeError):
        return None
    return api_key if owner == [*place] and isinstance(api_key, str) else None


KEY_BOX = web.AppKey("key_box", KeyBox)
