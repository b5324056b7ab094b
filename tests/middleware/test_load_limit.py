"""More than can be served, a database that is away, and an end under load: refused at once, never broken."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector

from tests.client import Answer, Api, User
from tests.conftest import Figure, make_settings, running_service
from tests.observability.test_metrics import requests, shown
from tests.process import served
from tests.proxy import Proxy, until
from tests.sockets import Connection, connect, talk
from todo_service.limits.load import MAX_VITAL

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
            assert requests(samples)["method=GET,route=shed,status=503"] == 1
            assert {(await answer).problem() for answer in waiting} == {"database-unavailable"}
            proxy.thawed.set()
            await until(lambda: answers(api, ada), 2)


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/metrics"])
async def test_health_checks_and_scrapes_take_no_place_of_requests(database_url: str, path: str) -> None:
    settings = make_settings(database_url, max_requests_in_flight=PLACES, database_pool_max=2)
    async with running_service(settings) as api, ClientSession(connector=TCPConnector(limit=0)) as many:
        crowd = Api(many, api.base)
        ada = await api.new_user()
        asking = [asyncio.create_task(crowd.get(path)) for _ in range(200)]
        for _ in range(10):
            answer, seconds = await timed(api, "/api/v1/tasks", ada)
            assert (answer.status, seconds < 5) == (200, True)
        statuses = Counter([(await answer).status for answer in asking])
        assert set(statuses) <= {200, 503}
        assert statuses[200] >= MAX_VITAL, "a few at once, the others are refused"
        assert (await api.get("/health/live")).status == 200


async def test_scrapes_whose_clients_have_gone_are_not_worked_off(database_url: str) -> None:
    async with running_service(make_settings(database_url)) as api:
        ada = await api.new_user()
        for _ in range(300):
            async with connect(api) as connection:
                await connection.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        answer, seconds = await timed(api, "/api/v1/tasks", ada)
        assert (answer.status, seconds < 5) == (200, True)


@asynccontextmanager
async def full_service(database_url: str) -> AsyncIterator[tuple[Api, User]]:
    """A service whose only place is taken, and a user of it."""
    async with Proxy(database_url) as proxy:
        origins = ["https://app.example.com"]
        settings = make_settings(proxy.url(), max_requests_in_flight=1, cors_origins=origins)
        async with running_service(settings) as api:
            ada = await api.new_user()
            proxy.thawed.clear()
            waiting = asyncio.create_task(api.get("/api/v1/tasks", as_=ada))
            await asyncio.sleep(0.3)
            yield api, ada
            proxy.thawed.set()
            await waiting


async def test_a_refusal_says_the_same_however_it_is_made(database_url: str) -> None:
    async with full_service(database_url) as (api, ada):
        kept = await api.get("/api/v1/tasks", as_=ada, headers={"X-Request-ID": "mine"})
        made = await api.get("/nowhere", headers={"X-Request-ID": "mine"})
        assert (kept.status, kept.raw) == (made.status, made.raw)
        assert kept.body["request_id"] == "mine"
        assert {name: kept.headers[name] for name in made.headers if name != "Date"} == {
            name: value for name, value in made.headers.items() if name != "Date"
        }
        one, other = [await api.get("/api/v1/tasks") for _ in range(2)]
        assert one.headers["X-Request-ID"] == one.body["request_id"] != other.body["request_id"]


async def test_a_page_of_another_origin_may_read_its_refusal(database_url: str) -> None:
    async with full_service(database_url) as (api, ada):
        answer = await api.get("/api/v1/tasks", as_=ada, headers={"Origin": "https://app.example.com"})
        assert (answer.status, answer.problem()) == (503, "overloaded")
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"


async def test_refusals_leave_the_connection_in_order(database_url: str) -> None:
    """One behind the other, with bodies, without one where HEAD asks, and closed where the client wants it closed."""
    post = b"POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\n" + b'{"title": "t"}'
    head = b"HEAD /api/v1/tasks HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /api/v1/tasks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with full_service(database_url) as (api, _), connect(api) as connection:
        await connection.send(post * 3 + head + last)
        everything = (await connection.reader.read()).split(b"HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in everything] == [b"503"] * 5
        bodies = [answer.partition(b"\r\n\r\n")[2] for answer in everything]
        assert [b"overloaded" in body for body in bodies] == [True, True, True, False, True]
        assert b"Connection: close" in everything[-1]


async def test_a_refusal_of_http_1_0_is_one(database_url: str) -> None:
    async with full_service(database_url) as (api, _), connect(api) as connection:
        await connection.send(b"GET /api/v1/tasks HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        assert (await connection.line()).startswith("HTTP/1.0 503")


async def test_a_refusal_while_the_service_ends_says_that_the_connection_does_too(database_url: str) -> None:
    async with Proxy(database_url) as proxy:
        settings = {"DATABASE_URL": proxy.url(), "MAX_REQUESTS_IN_FLIGHT": "1", "DRAIN_SECONDS": "1"}
        async with served(**settings) as (process, api):
            ada = await api.new_user()
            proxy.thawed.clear()
            waiting = asyncio.create_task(api.get("/api/v1/tasks", as_=ada))
            await asyncio.sleep(0.3)
            process.terminate()
            await asyncio.sleep(0.3)
            refused = await api.get("/api/v1/tasks", as_=ada)
            assert (refused.problem(), refused.headers["Connection"]) == ("overloaded", "close")
            proxy.thawed.set()
            assert (await waiting).status == 200
            assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_who_does_not_read_refusals_gets_no_more_of_them(database_url: str) -> None:
    """Else those that wait to be sent would fill the memory."""
    many = b"GET /api/v1/tasks HTTP/1.1\r\nHost: a\r\n\r\n" * 1000

    async def send(connection: Connection) -> None:
        while True:
            await connection.send(many)

    async with full_service(database_url) as (api, _), connect(api) as connection:
        sending = asyncio.create_task(send(connection))
        await until(lambda: stands_still(api))
        sending.cancel()
        connection.writer.transport.abort()
        await asyncio.sleep(0.1)


async def stands_still(api: Api) -> bool:
    """Whether somebody was refused, and nobody any more."""
    shed = []
    for _ in range(2):
        await asyncio.sleep(0.1)
        shed.append((await shown(api))["todo_http_requests_shed_total{}"])
    return 0 < shed[0] == shed[1]


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
async def test_a_database_that_is_away_costs_3_seconds_and_comes_back(
    database_url: str, count: str, figure: Figure
) -> None:
    async with Proxy(database_url) as proxy:
        url = proxy.url()
        async with served(DATABASE_URL=url, WEB_CONCURRENCY=count) as (process, api):
            ada = await api.new_user()
            proxy.thawed.clear()
            refusals = await asyncio.gather(*(timed(api, "/api/v1/tasks", ada) for _ in range(40)))
            slowest = max(seconds for _, seconds in refusals)
            for answer, _ in refusals:
                assert (answer.status, answer.problem()) == (503, "database-unavailable")
                assert int(answer.headers["Retry-After"]) > 0
            assert slowest < 3.5
            assert (await api.get("/health/live")).status == 200
            proxy.thawed.set()
            back = time.monotonic()
            await until(lambda: answers(api, ada), 2)
            figure(f"40 times 503 within {slowest:.2f} s, 200 again after {time.monotonic() - back:.2f} s")
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 10) == 0


@pytest.mark.parametrize("count", ["1", "2"])
async def test_the_end_breaks_no_request_of_50_busy_clients(database_url: str, count: str, figure: Figure) -> None:
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
        figure(f"answers by status {dict(outcomes)}, ended {time.monotonic() - began:.1f} s after SIGTERM")
    assert set(outcomes) == {201}
