"""Rate limits: which there are, how a request is counted, and the headers that report the usage.

Windows slide. They live in the memory of the process (`rate_memory.py`) or in Redis for all processes
(`rate_redis.py`).
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

from aiohttp import web

from todo_service.limits.rate_memory import MemoryWindows, Window
from todo_service.limits.rate_redis import Observer, RedisWindows
from todo_service.limits.redis_server import HASH_TAG

MINUTE, HOUR = 60, 3600  # seconds
KEY_VALIDATIONS = 5  # an hour
_UNITS = {MINUTE: "minute", HOUR: "hour"}


class Limit(StrEnum):
    """The limit that a request counts against: reads, writes, attempts at a secret, API key validations, or none."""

    READ = "read"
    WRITE = "write"
    AUTH = "auth"
    KEY_VALIDATION = "key-validation"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Quota:
    """`amount` requests in any `seconds` seconds, `MINUTE` or `HOUR`."""

    limit: Limit
    amount: int
    seconds: int
    fixed_headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        policy = f'"{self.limit}";q={self.amount};w={self.seconds}'
        headers = {"RateLimit-Policy": policy, "X-RateLimit-Limit": str(self.amount)}
        object.__setattr__(self, "fixed_headers", headers)


@dataclass(frozen=True, slots=True)
class Usage:
    """The state of a limit after a request.

    Attributes:
        admitted: Whether the request was within the quota.
        remaining: Requests left.
        reset: Whole seconds, at least 1, until there is one more.
    """

    quota: Quota
    admitted: bool
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers of draft-ietf-httpapi-ratelimit-headers, and the older ones with the reset in Unix seconds."""
        return self.quota.fixed_headers | {
            "RateLimit": f'"{self.quota.limit}";r={self.remaining};t={self.reset}',
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(math.ceil(time.time()) + self.reset),
        }


def quotas(*, read: int, write: int, auth: int) -> dict[Limit, Quota]:
    """Return the quota of each limit, given requests per minute."""
    enforced = (
        Quota(Limit.READ, read, MINUTE),
        Quota(Limit.WRITE, write, MINUTE),
        Quota(Limit.AUTH, auth, MINUTE),
        Quota(Limit.KEY_VALIDATION, KEY_VALIDATIONS, HOUR),
    )
    return {quota.limit: quota for quota in enforced}


class RateLimiter:
    """The rate limits of one process, or with a `redis_url` of all processes that share it.

    Args:
        quotas: The quota of each limit; a limit without one is not enforced.
        secret: The key of the digests that stand for users, addresses and emails in Redis.
    """

    def __init__(
        self, quotas: Mapping[Limit, Quota], *, secret: str, observer: Observer, redis_url: str | None = None
    ) -> None:
        self._quotas = quotas
        self._observer = observer
        self._memory = MemoryWindows()
        self._redis = RedisWindows(redis_url, observer) if redis_url and quotas else None
        self._key = blake2b(secret.encode(), digest_size=32, person=b"rate limits").digest()

    async def open(self) -> None:
        """Connect to Redis, if it is used."""
        if self._redis is not None:
            await self._redis.open()

    async def close(self) -> None:
        """Disconnect from Redis."""
        if self._redis is not None:
            await self._redis.close()

    async def spend(self, limit: Limit, subject: str) -> Usage | None:
        """Count a request of `subject`; None if the limit is not enforced. Without Redis each process counts alone."""
        quota = self._quotas.get(limit)
        if quota is None:
            return None
        window = await self._hit_redis(self._redis, subject, quota) if self._redis else None
        if window is None:
            window = self._memory.hit(f"{limit}/{subject}", quota.amount, quota.seconds)
        if not window.admitted:
            self._observer.limited(limit)
        reset = max(1, math.ceil(window.oldest + quota.seconds - time.monotonic()))
        return Usage(quota, window.admitted, max(0, quota.amount - window.used), reset)

    async def _hit_redis(self, redis: RedisWindows, subject: str, quota: Quota) -> Window | None:
        """Count in Redis; None while it is down. Admissions are counted in memory too, for when it goes down."""
        digest = blake2b(subject.encode(errors="surrogatepass"), key=self._key, digest_size=16).hexdigest()
        key = f"{HASH_TAG}:{quota.limit}/{digest}/{quota.amount}/1/{_UNITS[quota.seconds]}"
        try:
            window = await redis.hit(key, quota.amount, quota.seconds)
        except ConnectionError:
            return None
        if window.admitted:
            self._memory.hit(f"{quota.limit}/{subject}", quota.amount, quota.seconds)
        return window


RATE_LIMITER = web.AppKey("rate_limiter", RateLimiter)
