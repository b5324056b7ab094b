"""Searches that take long: one at a time for a user, few at once altogether, and dear if the database gives them up."""

import asyncio
import time

import pytest

from tests.client import Api
from tests.conftest import fill, make_settings, run_sql, running_service
from tests.proxy import Proxy
from todo_service.errors import Overloaded
from todo_service.limits import searches
from todo_service.limits.searches import Searches


async def hold(turns: Searches, user: str, seconds: float) -> float:
    """Search for so long; the moment at which it began."""
    async with turns.turn(user):
        began = time.monotonic()
        await asyncio.sleep(seconds)
    return began


async def test_a_user_searches_one_after_the_other_and_others_beside_them() -> None:
    turns, began = Searches(places=1, patience=1), time.monotonic()
    own = await asyncio.gather(*(hold(turns, "ada", 0.05) for _ in range(3)), hold(turns, "bob", 0.05))
    assert [round(moment - began, 1) for moment in own] == [0.0, pytest.approx(0.1, abs=0.1), 0.1, 0.0]
    assert own[1] - own[0] >= 0.05


async def test_users_with_slow_searches_share_few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "SLOW_SECONDS", 0.02)
    turns = Searches(places=1, patience=0.1)
    await asyncio.gather(*(hold(turns, user, 0.03) for user in ("eve", "mallory")))
    holding = asyncio.create_task(hold(turns, "eve", 0.5))
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await hold(turns, "mallory", 0)
    for _ in range(3):
        await hold(turns, "ada", 0)
    await holding
    await hold(turns, "mallory", 0)


async def test_a_user_does_not_wait_with_many() -> None:
    turns = Searches(places=1, patience=5)
    held = asyncio.create_task(hold(turns, "ada", 0.2))
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(hold(turns, "ada", 0)) for _ in range(searches.MAX_WAITING)]
    await asyncio.sleep(0.01)
    began = time.monotonic()
    with pytest.raises(Overloaded):
        await hold(turns, "ada", 0)
    assert time.monotonic() - began < 0.1
    await asyncio.gather(held, *waiting)
    assert not turns._waiting


async def test_a_search_that_the_database_gives_up_costs_many_reads(own_url: str) -> None:
    limits = {"rate_limit_enabled": True, "rate_limit_read": 100, "database_statement_timeout": 0.2}
    async with running_service(make_settings(own_url, **limits)) as api:
        ada, bob = await api.new_user(), await api.new_user()
        await fill(own_url, ada.id, count=1000, description="\U0001f600" * 4000)
        slow = await api.get("/api/v1/tasks?q=x", as_=ada)
        assert (slow.status, slow.headers["Retry-After"]) == (503, "2")
        after = await api.get("/api/v1/tasks?limit=1", as_=ada)
        assert int(after.headers["X-RateLimit-Remaining"]) <= 78
        assert (await api.get("/api/v1/tasks?q=x", as_=bob)).status == 200


async def test_all_of_a_users_long_tasks_are_streamed(own_api: Api, own_url: str) -> None:
    ada = await own_api.new_user()
    await fill(own_url, ada.id, count=3500, description="\U0001f600" * 4000)
    for path in ("/api/tasks", f"/api/{ada.id}/tasks", f"/api/users/{ada.id}/tasks", "/api/tasks?sort=title&skip=100"):
        answer = await own_api.get(path, as_=ada)
        assert answer.status == 200
        assert "Content-Length" not in answer.headers
        tasks = answer.body["tasks"] if "/users/" in path else answer.body
        assert len({task["id"] for task in tasks}) == 3500 - ("skip" in path) * 100
        assert answer.headers["X-Total-Count"] == "3500"
        again = await own_api.get(path, as_=ada, headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304
    counted = (await own_api.get(f"/api/users/{ada.id}/tasks", as_=ada)).body
    assert counted["count"] == 3500


async def test_short_tasks_in_front_do_not_hide_long_ones(own_api: Api, own_url: str) -> None:
    ada = await own_api.new_user()
    await fill(own_url, ada.id, count=3500, description="\U0001f600" * 4500)
    await run_sql(
        own_url,
        f"""UPDATE tasks SET description = NULL, created_at = now() + interval '1 day' WHERE user_id = '{ada.id}'
        AND id IN (SELECT id FROM tasks WHERE user_id = '{ada.id}' ORDER BY id LIMIT 1000)""",
    )
    answer = await own_api.get("/api/tasks", as_=ada)
    assert ("Content-Length" in answer.headers, len(answer.body)) == (False, 3500)


async def test_a_long_list_of_short_tasks_comes_whole(own_api: Api, own_url: str) -> None:
    ada = await own_api.new_user()
    await fill(own_url, ada.id, count=3100)
    for path in ("/api/tasks", "/api/tasks?sort=title", "/api/tasks?skip=50"):
        answer = await own_api.get(path, as_=ada)
        assert "Content-Length" in answer.headers
        assert len({task["id"] for task in answer.body}) == 3100 - ("skip" in path) * 50
        assert answer.headers["X-Total-Count"] == "3100"


async def test_an_outage_costs_no_reads(database_url: str) -> None:
    limits = {"rate_limit_enabled": True, "rate_limit_read": 100}
    async with Proxy(database_url) as proxy:
        settings = make_settings(proxy.url(), **limits, database_pool_min=0, database_acquire_timeout=0.2)
        async with running_service(settings) as api:
            ada = await api.new_user()
            proxy.thawed.clear()
            for _ in range(3):
                assert (await api.get("/api/v1/tasks?q=x", as_=ada)).status == 503
            proxy.thawed.set()
            proxy.cut()
            answer = await api.get("/api/v1/tasks", as_=ada)
            assert int(answer.headers["X-RateLimit-Remaining"]) >= 95
