"""L1 to L8: rate limits, load, quotas."""

import asyncio
import time

import pytest

from tests.attacks.raw import ask, exchange, post, request
from tests.conftest import make_settings, running_service
from todo_service.limits.rate_memory import MemoryWindows

TASKS = "/api/v1/tasks"
LIMITED = {"rate_limit_enabled": True, "rate_limit_read": 10, "rate_limit_write": 3, "rate_limit_auth": 20}


async def test_l1_the_limit_and_a_true_retry_after(database_url: str) -> None:
    async with running_service(make_settings(database_url, **LIMITED)) as api:
        ada = await api.new_user()
        replies = [await ask(api, "GET", TASKS, as_=ada) for _ in range(11)]
        assert [reply.status for reply in replies] == [200] * 10 + [429]
        refused = replies[-1]
        assert refused.problem() == "rate-limited"
        assert 1 <= int(refused.one("retry-after")) <= 60
        assert refused.one("ratelimit-policy") == '"read";q=10;w=60'
        assert refused.one("x-ratelimit-remaining") == "0"
        writes = [(await post(api, TASKS, {"title": "t"}, as_=ada)).status for _ in range(4)]
        assert writes == [201, 201, 201, 429]
    now = [1000.0]
    windows = MemoryWindows(clock=lambda: now[0])
    hits = [windows.hit("read/ada", 10, 60) for _ in range(11)]
    now[0] += hits[-1].oldest + 60 - now[0]
    assert windows.hit("read/ada", 10, 60).admitted, "after what Retry-After says"


async def test_l2_many_at_once_are_counted_exactly(database_url: str) -> None:
    async with running_service(make_settings(database_url, **LIMITED)) as api:
        ada = await api.new_user()
        replies = await asyncio.gather(*(ask(api, "GET", TASKS, as_=ada) for _ in range(50)))
        assert sorted(reply.status for reply in replies).count(200) == 10


async def test_l4_what_is_counted_and_what_is_not(database_url: str) -> None:
    async with running_service(make_settings(database_url, **LIMITED)) as api:
        for _ in range(12):
            last = await ask(api, "GET", TASKS)
        assert last.status == 429, "requests without a credential, by address"
        for _ in range(30):
            assert (await ask(api, "GET", "/health")).status == 200
            assert (await ask(api, "OPTIONS", TASKS)).status == 204


def test_l5_very_many_subjects_take_bounded_memory() -> None:
    windows = MemoryWindows()
    for number in range(300_000):
        windows.hit(f"read/address 2001:db8::{number:x}", 10, 60)
    assert len(windows) <= 100_001


async def test_l6_the_wall_clock_does_not_matter(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_service(make_settings(database_url, **LIMITED, access_token_expire_minutes=1440)) as api:
        ada = await api.new_user()
        for _ in range(10):
            await ask(api, "GET", TASKS, as_=ada)
        wall = time.time
        for shift in (3600, -3600):
            monkeypatch.setattr(time, "time", lambda shift=shift: wall() + shift)
            assert (await ask(api, "GET", TASKS, as_=ada)).status == 429
            monkeypatch.undo()


async def test_l7_too_many_at_once_are_refused_and_the_others_answered(database_url: str) -> None:
    async with running_service(make_settings(database_url, max_requests_in_flight=20)) as api:
        ada = await api.new_user()
        data = request("GET", TASKS, [("Authorization", f"Bearer {ada.token}")])
        replies = await asyncio.gather(*(exchange(api, data) for _ in range(300)))
        statuses = [reply[0].status for reply in replies if reply]
        assert set(statuses) <= {200, 503}
        assert 200 in statuses
        assert all(reply[0].one("retry-after") for reply in replies if reply and reply[0].status == 503)
        assert (await ask(api, "GET", TASKS, as_=ada)).status == 200


async def test_l8_quotas_hold_when_many_write_at_once(database_url: str) -> None:
    async with running_service(make_settings(database_url, max_tasks_per_user=5)) as api:
        ada = await api.new_user()
        replies = await asyncio.gather(*(post(api, TASKS, {"title": "t"}, as_=ada) for _ in range(20)))
        assert sorted(reply.status for reply in replies) == [201] * 5 + [403] * 15
        assert (await api.get(TASKS, as_=ada)).body["total"] == 5
