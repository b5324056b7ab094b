"""Who was refused is refused again without asking Redis, for exactly as long as Redis would have done so."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from tests.limits.test_rate_redis import admit, look, opened
from tests.proxy import until
from tests.valkey import Valkey
from todo_service.limits import rate_redis
from todo_service.limits.rate_redis import RedisWindows

WINDOW = 2.0  # seconds


async def is_up(windows: RedisWindows) -> bool:
    return windows.up


async def questions(redis: Redis) -> int:
    """How often Redis was asked."""
    return int((await redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"])


async def test_who_was_refused_is_refused_without_asking_for_as_long_as_redis_would(
    valkey: Valkey, patient: None
) -> None:
    async with opened(valkey) as one, opened(valkey) as other, Redis.from_url(valkey.url) as redis:
        assert [await admit(one, "k", 3, WINDOW) for _ in range(4)] == [True, True, True, False]
        full, asked = time.monotonic(), await questions(redis)
        while time.monotonic() < full + 0.3:
            assert not await admit(one, "k", 3, WINDOW)
        assert not await admit(one, "k", 3, WINDOW, 2), "no more than one"
        assert await questions(redis) == asked
        assert not await admit(other, "k", 3, WINDOW), "who was not refused yet has to ask"
        assert await questions(redis) == asked + 1
        assert (await look(one, "k", 3, WINDOW))[1] == 3
        assert await questions(redis) == asked + 2, "a look is always a look"
        await asyncio.sleep(full + WINDOW + 0.05 - time.monotonic())
        both = [admit(windows, "k", 3, WINDOW) for _ in range(5) for windows in (one, other)]
        assert sum(await asyncio.gather(*both)) == 3


async def test_too_many_for_what_is_left_says_nothing_of_one(valkey: Valkey, patient: None) -> None:
    async with opened(valkey) as windows:
        assert await admit(windows, "k", 3, 60, 2)
        assert [await admit(windows, "k", 3, 60, cost) for cost in (2, 1, 1)] == [False, True, False]


async def test_of_many_who_are_refused_some_are_asked_for_again(
    valkey: Valkey, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_redis, "MAX_REFUSALS", 3)
    async with opened(valkey) as windows, Redis.from_url(valkey.url) as redis:
        keys = [f"k{number}" for number in range(5)]
        for key in keys:
            assert [await admit(windows, key, 1, 60) for _ in range(2)] == [True, False]
        asked = await questions(redis)
        assert not any([await admit(windows, key, 1, 60) for key in keys[2:]])
        assert await questions(redis) == asked
        assert not any([await admit(windows, key, 1, 60) for key in keys[:2]])
        assert await questions(redis) == asked + 2


async def test_a_redis_that_has_forgotten_refuses_nobody(valkey: Valkey, patient: None) -> None:
    async with opened(valkey) as windows:
        assert [await admit(windows, "k", 1, 60) for _ in range(2)] == [True, False]
        valkey.kill()
        with pytest.raises(ConnectionError):
            await admit(windows, "another", 1, 60)
        valkey.start()
        await until(lambda: is_up(windows))
        assert await admit(windows, "k", 1, 60)
