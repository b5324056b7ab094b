"""More than can be served, a database that is away, and an end under load: refused at once, never broken."""

import asyncio
import time
from collections import Counter

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector

from tests.client import Answer, Api, User
from tests.conftest import make_settings, running_service
from tests.process import served
from tests.proxy import Proxy, until
from tests.sockets import talk
from tests.test_metrics import requests, shown

PLACES = 5


async def timed(api: Api, path: str, user: User | None = None) -> tuple[Answer, float]:
    started = time.monotonic()
    return await api.get(path, as_=user), time.monotonic() - started


async def test_one_too_many_is_refused_at_once(database_url: str) -> None:
    async with Proxy(database_url) as proxy:
        settings = make_settings(proxy.url(), max_requests_in_flight=PLACES)
        async with running_service(settings) as api:
            ada = await api.new_user()
            proxy.thawed.clear()
            waiting = [asyncio.create_task(api.get("/api/v1/tasks", as_=ada)) for _ in range(PLACES)]
            await asyncio.sleep(0.3)
            refused, seconds = await timed(api, "/api/v1/tasks", ada)
            assert (refused.status, refused.problem(), refused.headers["Retry-After"]) == (503, "overloaded", "2")
            assert refused.headers["X-Content-Type-Options"] == "nosniff"
            assert seconds < 0.2
            for vital in ("/health/live", "/metrics"):
                assert (await api.get(vital)).status == 200
            samples = await shown(api)
            assert samples["todo_http_requests_shed_total{}"] == 1
            assert requests(samples)["method=GET,route=/api/v1/tasks,status=503"] == 1
            assert {(await answer).problem() for answer in waiting} == {"database-unavailable"}
            proxy.thawed.set()
            await until(lambda: answers(api, ada), 2)


async def answers(api: Api, user: User) -> bool:
    return (await api.get("/api/v1/tasks", as_=user)).status == 200


async def test_slow_clients_take_no_places(database_url: str) -> None:
    async with running_service(make_settings(database_url, max_requests_in_flight=PLACES)) as api:
        ada = await api.new_user()
        slow = [talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Content-Length": "14"}) for _ in range(20)]
        opened = [await connection.__aenter__() for connection in slow]
        await asyncio.sleep(0.3)
        assert await answers(api, ada)
        for connection in opened:
            await connection.send(b'{"title": "t"}')
            assert (await connection.answer())[0] == 201
        for manager in slow:
            await manager.__aexit__(None, None, None)


@pytest.mark.parametrize("count", ["1", "2"])
async def test_a_database_that_is_away_costs_3_seconds_and_comes_back(database_url: str, count: str) -> None:
    async with Proxy(database_url) as proxy:
        url = proxy.url()
        async with served(DATABASE_URL=url, WEB_CONCURRENCY=count) as (process, api):
            ada = await api.new_user()
            proxy.thawed.clear()
            for answer, seconds in await asyncio.gather(*(timed(api, "/api/v1/tasks", ada) for _ in range(40))):
                assert (answer.status, answer.problem()) == (503, "database-unavailable")
                assert int(answer.headers["Retry-After"]) > 0
                assert seconds < 3.5
            assert (await api.get("/health/live")).status == 200
            proxy.thawed.set()
            await until(lambda: answers(api, ada), 2)
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 10) == 0


@pytest.mark.parametrize("count", ["1", "2"])
async def test_the_end_breaks_no_request_of_50_busy_clients(database_url: str, count: str) -> None:
    """Each client goes on in its connection until it is told that this one ends."""
    async with served(DATABASE_URL=database_url, WEB_CONCURRENCY=count, LOG_LEVEL="WARNING") as (process, api):
        ada, *users = [await api.new_user() for _ in range(51)]
        outcomes: Counter[object] = Counter()

        async def client(user: User) -> None:
            async with ClientSession(connector=TCPConnector(limit=1)) as session:
                last = None
                while last != "close":
                    try:
                        answer = await Api(session, api.base).post("/api/v1/tasks", {"title": "t"}, as_=user)
                    except ClientError as error:
                        outcomes[type(error).__name__] += 1
                        return
                    outcomes[answer.status] += 1
                    last = answer.headers.get("Connection")

        async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Content-Length": "14"}) as slow:
            clients = [asyncio.create_task(client(user)) for user in users]
            await asyncio.sleep(1)
            process.terminate()
            began = time.monotonic()
            await asyncio.sleep(3)
            await slow.send(b'{"title": "t"}')
            assert (await slow.answer())[0] == 201
            await asyncio.gather(*clients)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        print(f"\n  {dict(outcomes)}, {time.monotonic() - began:.1f} s")
    assert set(outcomes) == {201}
