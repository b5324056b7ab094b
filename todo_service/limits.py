"""How often somebody may ask: which limits there are, who is counted, and how a limit stands."""

import math
import time
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from typing import NamedTuple

from aiohttp import web

from todo_service.settings import Settings, secret
from todo_service.shared_windows import Observer, SharedWindows
from todo_service.windows import SECONDS, Windows


class Limit(Enum):
    """What a request is counted as: a reading one, a writing one, one that tries a secret, one that lets a provider
    look at an API key, or not at all.
    """

    READ = "read"
    WRITE = "write"
    AUTH = "auth"
    KEY_VALIDATION = "key-validation"
    NONE = "none"


class Quota(NamedTuple):
    """How many there may be in how many seconds."""

    most: int
    seconds: int = SECONDS


KEY_VALIDATIONS = Quota(5, 60 * 60)


@dataclass(frozen=True, slots=True)
class Usage:
    """How a limit stands after a request: of its `quota`, `remaining` are left; in `reset` whole seconds (at least 1)
    there is one more. `admitted` says whether the request was within it.
    """

    limit: Limit
    quota: Quota
    admitted: bool
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says of it: draft-ietf-httpapi-ratelimit-headers, and the older names, where the reset is in
        seconds since 1970.
        """
        return {
            "RateLimit-Policy": f'"{self.limit.value}";q={self.quota.most};w={self.quota.seconds}',
            "RateLimit": f'"{self.limit.value}";r={self.remaining};t={self.reset}',
            "X-RateLimit-Limit": str(self.quota.most),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(math.ceil(time.time()) + self.reset),
        }


class Silent:
    """An observer that keeps it to itself."""

    def limited(self, name: str) -> None: ...

    def redis_up(self, up: bool) -> None: ...

    def redis_error(self) -> None: ...


class Limits:
    """The limits of one process, or with a `redis_url` of all processes that share it."""

    def __init__(self, settings: Settings, observer: Observer | None = None) -> None:
        self._enabled = settings.rate_limit_enabled
        self._quotas = {
            Limit.READ: Quota(settings.rate_limit_read),
            Limit.WRITE: Quota(settings.rate_limit_write),
            Limit.AUTH: Quota(settings.rate_limit_auth),
            Limit.KEY_VALIDATION: KEY_VALIDATIONS,
        }
        self._observer = observer or Silent()
        self._own = {quota.seconds: Windows(quota.seconds) for quota in self._quotas.values()}
        url = secret(settings.redis_url)
        self._shared = SharedWindows(url, self._observer) if url and self._enabled else None
        self._key = blake2b(settings.signing_keys[0].encode(), digest_size=32, person=b"rate limits").digest()

    async def open(self) -> None:
        """Look for Redis, if it is to be used."""
        if self._shared is not None:
            await self._shared.open()

    async def close(self) -> None:
        """Let go of Redis."""
        if self._shared is not None:
            await self._shared.close()

    async def spend(self, limit: Limit, who: str) -> Usage | None:
        """Count one request of `who`; None if it is not limited. Never fails: without Redis each process counts alone.

        What Redis admits is counted here too, so that nobody begins anew when Redis goes away.
        """
        if not self._enabled or limit is Limit.NONE:
            return None
        key, quota = self._key_of(limit, who), self._quotas[limit]
        own = self._own[quota.seconds]
        spent = await self._shared.spend(key, *quota) if self._shared else None
        if spent is None:
            spent = own.spend(key, quota.most)
        elif spent.admitted:
            own.spend(key, quota.most)
        if not spent.admitted:
            self._observer.limited(limit.value)
        return Usage(limit, quota, spent.admitted, spent.remaining, max(1, math.ceil(spent.reset)))

    def _key_of(self, limit: Limit, who: str) -> str:
        """Nobody's id, address or email is in Redis: a digest that only those who sign our tokens can compute."""
        return f"todo:{limit.value}:{blake2b(who.encode(), key=self._key, digest_size=16).hexdigest()}"


LIMITS = web.AppKey("limits", Limits)
