"""Windows in a real Valkey: as exact as those in memory, for all processes; and nobody waits for one that is away."""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from tests.client import Api, User
from tests.conftest import Figure, make_settings, running_service
from tests.process import served
from tests.valkey import Valkey
from todo_service.app import rate_limiter
from todo_service.config.settings import Settings
from todo_service.limits import rate_redis
from todo_service.limits.rate import Limit, RateLimiter, Usage
from todo_service.limits.rate_redis import RedisWindows

HERE = "postgresql://u@127.0.0.1/unused"
BACK_SECONDS = 10
LITTLE = 0.06  # seconds that a request may take longer because Redis does not answer
MARGIN = 0.1  # seconds for a machine that is busy with other tests
PATIENT = (
    "from todo_service.limits import rate_redis as r; r.PATIENCE = 9; from todo_service.__main__ import main; main()"
)


class Witness:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.states: list[bool] = []
        self.errors = 0

    def limited(self, name: str) -> None:
        self.refused.append(name)

    def redis_up(self, up: bool) -> None:
        self.states.append(up)

    def redis_error(self) -> None:
        self.errors += 1


def sharing(valkey: Valkey, **others: object) -> Settings:
    return make_settings(HERE, redis_url=valkey.url, rate_limit_enabled=True, **others)


@asynccontextmanager
async def limits_of(settings: Settings, witness: Witness | None = None) -> AsyncIterator[RateLimiter]:
    """What one process would have."""
    limits = rate_limiter(settings, witness or Witness())
    await limits.open()
    try:
        yield limits
    finally:
        await limits.close()


async def spend(limits: RateLimiter, who: str = "user ada", limit: Limit = Limit.READ) -> Usage:
    usage = await limits.spend(limit, who)
    assert usage
    return usage


async def admit(windows: RedisWindows, key: str, limit: int, seconds: float, cost: int = 1) -> bool:
    return (await windows.hit(key, limit, seconds, cost)).admitted


async def look(windows: RedisWindows, key: str, limit: int, seconds: float) -> tuple[float, int]:
    """The moment of the oldest, and how many there are."""
    _, oldest, used = await windows.hit(key, limit, seconds, 0)
    return oldest, used


async def until_back(witness: Witness) -> None:
    async with asyncio.timeout(BACK_SECONDS):
        while not witness.states[-1]:
            await asyncio.sleep(0.02)


async def test_two_that_share_admit_exactly_the_limit(valkey: Valkey, patient: None) -> None:
    async with limits_of(sharing(valkey)) as one, limits_of(sharing(valkey)) as other:
        usages = await asyncio.gather(*(spend(limits) for _ in range(100) for limits in (one, other)))
        assert sorted(usage.remaining for usage in usages if usage.admitted) == list(range(100))
        assert all(1 <= usage.reset <= 60 for usage in usages)
        assert (await spend(one, "user bob")).remaining == 99
        assert (await spend(other, limit=Limit.WRITE)).remaining == 29


async def test_limits_of_one_number_are_counted_apart(valkey: Valkey, patient: None) -> None:
    equal = {"rate_limit_read": 5, "rate_limit_write": 5, "rate_limit_auth": 5}
    for settings in (sharing(valkey, **equal), make_settings(HERE, rate_limit_enabled=True, **equal)):
        async with limits_of(settings) as limits:
            for limit in (Limit.READ, Limit.WRITE, Limit.AUTH, Limit.KEY_VALIDATION):
                assert [(await spend(limits, limit=limit)).remaining for _ in range(2)] == [4, 3]


async def test_the_window_slides(valkey: Valkey, patient: None) -> None:
    async with opened(valkey) as windows:
        admitted = [await admit(windows, "k", 2, 0.8)]
        await asyncio.sleep(0.5)
        admitted += [await admit(windows, "k", 2, 0.8), await admit(windows, "k", 2, 0.8)]
        assert admitted == [True, True, False]
        oldest, count = await look(windows, "k", 2, 0.8)
        assert (0.1 < oldest + 0.8 - time.monotonic() < 0.35, count) == (True, 2), "until the first one is forgotten"
        await asyncio.sleep(0.4)
        assert (await look(windows, "k", 2, 0.8))[1] == 1
        then = [await admit(windows, "k", 2, 0.8), await admit(windows, "k", 2, 0.8)]
        assert then == [True, False], "the second one still counts"


async def test_several_are_admitted_together_or_not_at_all(valkey: Valkey, patient: None) -> None:
    async with opened(valkey) as windows, Redis.from_url(valkey.url) as redis:
        assert (await look(windows, "k", 5, 60))[1] == 0
        assert not await redis.keys(), "a look leaves nothing behind"
        assert [await admit(windows, "k", 5, 60, cost) for cost in (3, 3, 2, 1)] == [True, False, True, False]


async def test_a_clock_of_redis_that_was_set_back_keeps_nobody_out(valkey: Valkey, patient: None) -> None:
    async with opened(valkey) as windows, Redis.from_url(valkey.url) as redis:
        seconds, _ = await redis.time()
        await redis.rpush("k", *[(seconds + 3600) * 1000] * 5)
        assert [await admit(windows, "k", 5, 60) for _ in range(6)] == [True] * 5 + [False]
        oldest, count = await look(windows, "k", 5, 60)
        assert (oldest <= time.monotonic(), count) == (True, 5)


async def test_validations_of_keys_are_shared_for_an_hour(valkey: Valkey, patient: None) -> None:
    async with limits_of(sharing(valkey)) as one, limits_of(sharing(valkey)) as other:
        both = [limits for _ in range(10) for limits in (one, other)]
        usages = await asyncio.gather(*(spend(limits, limit=Limit.KEY_VALIDATION) for limits in both))
        assert sorted(usage.remaining for usage in usages if usage.admitted) == [0, 1, 2, 3, 4]
        assert all(3500 < usage.reset <= 3600 for usage in usages)
        async with Redis.from_url(valkey.url, decode_responses=True) as redis:
            [key] = await redis.keys()
            assert str(key).startswith("{todo}:key-validation/")
            assert 3_500_000 < await redis.pttl(key) <= 3_600_000
        valkey.kill()
        for limits in (one, other):
            await spend(limits, "user bob")  # finds out that Redis is away: who was refused is not asked about
        again = [await spend(limits, limit=Limit.KEY_VALIDATION) for limits in (one, other) for _ in range(5)]
        assert sum(usage.admitted for usage in again) == 5, "each knows what it admitted itself"


@asynccontextmanager
async def opened(valkey: Valkey) -> AsyncIterator[RedisWindows]:
    windows = RedisWindows(valkey.url, Witness())
    await windows.open()
    yield windows
    await windows.close()


async def test_many_at_once_fly_together(valkey: Valkey, patient: None) -> None:
    async with opened(valkey) as windows:
        admitted = await asyncio.gather(*(admit(windows, f"k{number % 7}", 100, 60) for number in range(1200)))
        assert sum(admitted) == 700


async def test_whose_client_has_gone_does_not_mix_up_the_answers(valkey: Valkey, patient: None) -> None:
    async with opened(valkey) as windows:
        for turn in range(50):
            gone = asyncio.ensure_future(admit(windows, "gone", 1000, 60))
            for _ in range(turn % 5):
                await asyncio.sleep(0)
            gone.cancel()
            assert await admit(windows, "k", 1000, 60)
            assert (await look(windows, "k", 1000, 60))[1] == turn + 1


async def test_redis_holds_digests_for_a_minute_and_not_who_asked(valkey: Valkey, patient: None) -> None:
    async with limits_of(sharing(valkey)) as limits, Redis.from_url(valkey.url, decode_responses=True) as redis:
        for who in ("email ada@example.com", "address 198.51.100.1", "user \u20ac " + "x" * 255):
            for _ in range(150):
                await spend(limits, who, Limit.AUTH)
        keys = await redis.keys()
        assert len(keys) == 3
        for key in keys:
            assert re.fullmatch("{todo}:auth/[0-9a-f]{32}/20/1/minute", str(key))
            assert await redis.llen(key) == 20
            assert 0 < await redis.pttl(key) <= 60_000
    other = sharing(valkey, secret_key="another-secret-0123456789-abcdefghijk")
    async with limits_of(other) as apart:
        assert (await spend(apart, "email ada@example.com", Limit.AUTH)).admitted, "another key, another digest"


async def test_while_redis_is_frozen_one_short_wait_is_all_it_costs(valkey: Valkey, patient: None) -> None:
    witness = Witness()
    async with limits_of(sharing(valkey), witness) as limits, limits_of(sharing(valkey)) as neighbour:
        for _ in range(30):
            await spend(limits)
        for _ in range(20):
            await spend(neighbour)
        valkey.freeze()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rate_redis, "PATIENCE", 0.05)
            started = time.perf_counter()
            usages = await asyncio.gather(*(spend(limits) for _ in range(50)))
            assert time.perf_counter() - started < LITTLE + MARGIN
        assert usages[-1].remaining == 20, "it knows the 30 of its own"
        started = time.perf_counter()
        for _ in range(10):
            await spend(limits)
        assert time.perf_counter() - started < MARGIN, "nobody waits any more"
        valkey.thaw()
        await asyncio.sleep(0.3)
        assert (await spend(neighbour)).remaining == 0, "Redis has seen 30, 20, and the 50 it was late for"
        assert not (await spend(limits)).admitted, "shared again at once"
        assert (witness.states, witness.errors) == ([False, True], 1)


async def test_a_redis_that_stays_frozen_is_away_and_is_found_again(valkey: Valkey, patient: None) -> None:
    witness = Witness()
    async with limits_of(sharing(valkey), witness) as limits:
        valkey.freeze()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rate_redis, "PATIENCE", 0.05)
            await spend(limits, "user bob")
        await asyncio.sleep(rate_redis.LOST_SECONDS + rate_redis.RETRY_SECONDS + 0.5)
        assert witness.states == [False, True, False]
        valkey.thaw()
        await until_back(witness)
        assert (await spend(limits)).remaining == 99
        async with Redis.from_url(valkey.url) as redis:
            assert len(await redis.keys()) >= 1


async def test_a_redis_that_ends_and_begins_again(valkey: Valkey, patient: None) -> None:
    witness = Witness()
    async with limits_of(sharing(valkey), witness) as limits:
        for _ in range(100):
            await spend(limits)
        valkey.kill()
        assert not (await spend(limits)).admitted, "limits hold without Redis"
        assert witness.refused == ["read"]
        assert (await spend(limits, "user bob")).remaining == 99
        valkey.start()
        await until_back(witness)
        assert (await spend(limits)).remaining == 99, "Redis has forgotten, and Redis counts"


async def test_a_redis_that_dies_while_nobody_asks_is_noticed(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_redis, "IDLE_SECONDS", 0.1)
    witness = Witness()
    async with limits_of(sharing(valkey), witness) as limits:
        await asyncio.sleep(0.5)
        assert witness.states == [False, True]
        valkey.freeze()
        await asyncio.sleep(0.3)
        async with asyncio.timeout(MARGIN):
            assert (await spend(limits)).admitted, "nobody waits for an answer to that question either"
        valkey.kill()
        await asyncio.sleep(0.5)
        assert witness.states == [False, True, False]


async def test_a_start_without_redis(valkey: Valkey) -> None:
    valkey.kill()
    witness = Witness()
    async with limits_of(sharing(valkey), witness) as limits:
        assert (await spend(limits)).remaining == 99
        valkey.start()
        await until_back(witness)
    assert witness.states == [False, True]


async def test_a_redis_that_refuses_to_write_counts_as_away(valkey: Valkey, patient: None) -> None:
    witness = Witness()
    async with limits_of(sharing(valkey), witness) as limits, Redis.from_url(valkey.url) as redis:
        await redis.config_set("maxmemory", 1)
        assert (await spend(limits)).remaining == 99
        await redis.config_set("maxmemory", 0)
        await until_back(witness)
        assert (await spend(limits)).remaining == 99


async def test_scripts_that_were_flushed_are_loaded_again(valkey: Valkey, patient: None) -> None:
    witness = Witness()
    async with limits_of(sharing(valkey), witness) as limits, Redis.from_url(valkey.url) as redis:
        await redis.script_flush()
        assert (await spend(limits)).admitted
        await until_back(witness)
        assert (await spend(limits)).admitted


async def test_a_stall_of_our_own_is_not_taken_for_one_of_redis(valkey: Valkey) -> None:
    async with opened(valkey) as windows:
        for _ in range(5):
            asked = asyncio.ensure_future(admit(windows, "k", 100, 60))
            for _ in range(3):
                await asyncio.sleep(0)
            time.sleep(0.1)  # noqa: ASYNC251
            assert await asked


async def test_switched_off_redis_is_not_looked_for(valkey: Valkey) -> None:
    witness = Witness()
    async with limits_of(make_settings(HERE, redis_url=valkey.url), witness) as limits:
        assert await limits.spend(Limit.READ, "user ada") is None
    assert witness.states == []


async def median_of(api: Api, user: User, requests: int = 30) -> float:
    times = []
    for _ in range(requests):
        started = time.perf_counter()
        assert (await api.get("/api/v1/auth/me", as_=user)).status == 200
        times.append(time.perf_counter() - started)
    return sorted(times)[requests // 2]


async def test_requests_go_on_while_redis_is_frozen_or_gone(
    database_url: str, ada: User, valkey: Valkey, figure: Figure
) -> None:
    settings = make_settings(database_url, redis_url=valkey.url, rate_limit_enabled=True, rate_limit_read=10_000)
    async with running_service(settings) as api:
        usual = await median_of(api, ada)
        for stop in (valkey.freeze, valkey.kill):
            stop()
            started = time.perf_counter()
            assert (await api.get("/api/v1/auth/me", as_=ada)).status == 200
            first, then = time.perf_counter() - started, await median_of(api, ada)
            times = ", ".join(f"{1000 * seconds:.1f}" for seconds in (usual, first, then))
            figure(f"milliseconds with Redis, in the first request without it ({stop.__name__}), and then: {times}")
            assert first < usual + LITTLE + MARGIN
            assert then < usual + 0.02


async def test_two_processes_share_their_limits_and_tell_of_redis(database_url: str, valkey: Valkey) -> None:
    environment = {
        "DATABASE_URL": database_url, "REDIS_URL": valkey.url, "RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_READ": "40",
    }  # fmt: skip
    command = (sys.executable, "-c", PATIENT)
    async with served(*command, **environment) as (process, one), served(*command, **environment) as (_, other):
        ada = await one.new_user()
        answers = await asyncio.gather(*(api.get("/api/tasks", as_=ada) for _ in range(40) for api in (one, other)))
        assert sorted(answer.status for answer in answers) == [200] * 40 + [429] * 40
        valkey.kill()
        for _ in range(20):
            assert (await one.get("/", headers={"X-Forwarded-For": "ignored"})).status == 200
            await asyncio.sleep(0.05)
        valkey.start()
        await asyncio.sleep(3)
        process.terminate()
        output = (await process.communicate())[0].decode()
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    told = [entry for entry in events if entry["event"].startswith("redis")]
    assert [(entry["event"], entry["level"]) for entry in told] == [
        ("redis_unreachable", "warning"), ("redis_reachable_again", "warning"),
    ]  # fmt: skip
    assert valkey.url not in output


async def test_a_redis_that_stays_away_is_told_of_every_minute(
    valkey: Valkey, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_redis, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(rate_redis, "WARN_SECONDS", 0.3)
    async with limits_of(sharing(valkey)) as limits:
        valkey.kill()
        await spend(limits)
        await asyncio.sleep(1)
    assert 2 <= capsys.readouterr().out.count("redis_unreachable") <= 4


async def test_a_redis_that_comes_and_goes_is_told_of_once_a_minute(
    valkey: Valkey, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_redis, "RETRY_SECONDS", 0.05)
    witness = Witness()
    async with limits_of(sharing(valkey), witness) as limits:
        for _ in range(3):
            valkey.kill()
            await spend(limits)
            await asyncio.sleep(0.2)
            valkey.start()
            await until_back(witness)
    output = capsys.readouterr().out
    assert output.count("redis_unreachable") == output.count("redis_reachable_again") == 1
    assert witness.states == [False, *[True, False] * 3, True]
