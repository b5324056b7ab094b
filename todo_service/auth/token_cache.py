"""Verified tokens: a token that is seen again costs a hash instead of a signature check. The users of
services are remembered likewise, apart from the tokens.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Collection
from typing import NamedTuple

from aiohttp import web

from todo_service.auth.caller import Caller

MAX_TOKENS = 10_000  # about 5 MB


class _Entry(NamedTuple):
    caller: Caller
    expires_at: int


class TokenCache:
    """The callers of the most recently used tokens, each under the digest of its token, at most `MAX_TOKENS`."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, token: str) -> Caller | None:
        """Return the caller of a token that was verified before and has not expired or been evicted."""
        key = _digest(token)
        entry = self._entries.get(key)
        if entry is None or entry.expires_at <= time.time():
            return None
        self._entries.move_to_end(key)
        return entry.caller

    def add(self, token: str, caller: Caller, expires_at: int) -> None:
        """Remember a verified token until `expires_at`, in Unix seconds."""
        self._entries[_digest(token)] = _Entry(caller, expires_at)
        if len(self._entries) > MAX_TOKENS:
            self._entries.popitem(last=False)

    def evict(self, user_ids: Collection[str]) -> None:
        """Forget the tokens of some users, so that each is verified again."""
        for key in [key for key, entry in self._entries.items() if entry.caller.user_id in user_ids]:
            del self._entries[key]

    def clear(self) -> None:
        """Forget all tokens."""
        self._entries.clear()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


TOKEN_CACHE = web.AppKey("token_cache", TokenCache)
SERVICE_USERS = web.AppKey("service_users", TokenCache)  # each under the user's id
