"""Users' API keys at rest: a ciphertext is worthless without `ENCRYPTION_KEY`, and in another user's row.

A key is encrypted (Fernet) together with its user and provider: Fernet has no associated data, and a ciphertext copied
into another row would otherwise be returned as that user's key.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web
from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class KeyContext(NamedTuple):
    """The row that a key belongs to; its ciphertext cannot be decrypted for another one."""

    user_id: str
    provider: str


class ApiKeyCipher:
    """Encrypts API keys under the first of `keys`, which are Fernet keys, and decrypts them under any of them."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._all = MultiFernet([Fernet(key) for key in keys])
        self._first = Fernet(keys[0])

    def encrypt(self, api_key: str, context: KeyContext) -> str:
        """Return the ciphertext to store."""
        return self._all.encrypt(json.dumps([*context, api_key]).encode()).decode()

    def decrypt(self, ciphertext: str, context: KeyContext) -> str | None:
        """Return the API key, or None if none of our keys decrypts it or it belongs to another context."""
        return _decrypt(self._all, ciphertext, context)

    def is_current(self, ciphertext: str, context: KeyContext) -> bool:
        """Return whether the first key alone decrypts it."""
        return _decrypt(self._first, ciphertext, context) is not None

    def reencrypt(self, ciphertext: str, context: KeyContext) -> str | None:
        """Return the same API key under the first key, or None if it cannot be decrypted."""
        if self.decrypt(ciphertext, context) is None:
            return None
        return self._all.rotate(ciphertext.encode()).decode()


def _decrypt(keys: Fernet | MultiFernet, ciphertext: str, context: KeyContext) -> str | None:
    try:
        *owner, api_key = json.loads(keys.decrypt(ciphertext.encode()))
    except (InvalidToken, ValueError, TypeError):
        return None
    return api_key if owner == [*context] and isinstance(api_key, str) else None


API_KEY_CIPHER = web.AppKey("api_key_cipher", ApiKeyCipher)
