"""How often somebody may ask: which limits there are, who is counted, and how a limit stands.

The `limits` library's moving windows decide, in storages of ours: `windows.py` in memory, `shared_windows.py` in Redis.
"""

import math
import time
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from aiohttp import web
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute, WindowStats

from todo_service.config.settings import Settings, secret
from todo_service.limits.rate_memory import MovingWindowLimiter, Windows
from todo_service.limits.rate_redis import Observer, SharedWindows

KEY_VALIDATIONS = 5  # an hour


class Limit(Enum):
    """What a request is counted as: a reading one, a writing one, one that tries a secret, one that lets a provider
    look at an API key, or not at all.
    """

    READ = "read"
    WRITE = "write"
    AUTH = "auth"
    KEY_VALIDATION = "key-validation"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Usage:
    """How a limit stands after a request: of what `item` allows, `remaining` are left; in `reset` whole seconds (at
    least 1) there is one more. `admitted` says whether the request was within it.
    """

    limit: Limit
    item: RateLimitItem
    admitted: bool
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says of it: draft-ietf-httpapi-ratelimit-headers, and the older names, where the reset is in
        seconds since 1970.
        """
        return {
            "RateLimit-Policy": f'"{self.limit.value}";q={self.item.amount};w={self.item.get_expiry()}',
            "RateLimit": f'"{self.limit.value}";r={self.remaining};t={self.reset}',
            "X-RateLimit-Limit": str(self.item.amount),
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
        self._items = {
            Limit.READ: RateLimitItemPerMinute(settings.rate_limit_read, namespace="todo:read"),
            Limit.WRITE: RateLimitItemPerMinute(settings.rate_limit_write, namespace="todo:write"),
            Limit.AUTH: RateLimitItemPerMinute(settings.rate_limit_auth, namespace="todo:auth"),
            Limit.KEY_VALIDATION: RateLimitItemPerHour(KEY_VALIDATIONS, namespace="todo:key-validation"),
        }
        self._observer = observer or Silent()
        url = secret(settings.redis_url)
        self._shared = SharedWindows(url, self._observer) if url and self._enabled else None
        self._together = MovingWindowLimiter(self._shared) if self._shared else None
        self._alone = MovingWindowLimiter(Windows())
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
        """Count one request of `who`; None if it is not limited. Without Redis each process counts alone."""
        if not self._enabled or limit is Limit.NONE:
            return None
        item, digest = self._items[limit], self._digest(who)
        admitted, (reset, remaining) = await self._spend_together(item, digest) or await self._alone.spend(item, digest)
        if not admitted:
            self._observer.limited(limit.value)
        return Usage(limit, item, admitted, max(0, remaining), max(1, math.ceil(reset - time.monotonic())))

    async def _spend_together(self, item: RateLimitItem, digest: str) -> tuple[bool, WindowStats] | None:
        """What Redis says, None without one. What it admits is counted here too, so that nobody begins anew when it
        goes away.
        """
        if self._together is None:
            return None
        try:
            spent = await self._together.spend(item, digest)
        except ConnectionError:
            return None
        if spent[0]:
            await self._alone.hit(item, digest)
        return spent

    def _digest(self, who: str) -> str:
        """Nobody's id, address or email is in Redis: a digest that only those who sign our tokens can compute."""
        return blake2b(who.encode(), key=self._key, digest_size=16).hexdigest()


LIMITS = web.AppKey("limits", Limits)
