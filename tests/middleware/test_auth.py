"""Authentication is a middleware that decides by the row of the matched route: without a row, no caller is served."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.client import PASSWORD
from tests.conftest import make_settings
from tests.rows import router_routes, row_of
from todo_service.app import build_app, build_metrics_app
from todo_service.auth.access import Access
from todo_service.limits.rate import Limit

Client = TestClient[web.Request, web.Application]


async def leak(_: web.Request) -> web.Response:
    return web.Response(text="everybody's data")


@asynccontextmanager
async def client_of(app: web.Application) -> AsyncIterator[Client]:
    async with TestClient(TestServer(app)) as client:
        yield client


async def token_of(client: Client, email: str) -> str:
    answer = await client.post("/api/auth/signup", json={"email": email, "password": PASSWORD})
    token: str = (await answer.json())["token"]
    return token


def test_every_route_of_the_router_has_a_row_with_access_and_limit() -> None:
    routes = router_routes()
    assert len(routes) > 150
    for route in routes:
        row = row_of(route)
        assert row is not None, route
        assert isinstance(row.access, Access)
        assert isinstance(row.limit, Limit)


def add_plainly(app: web.Application) -> None:
    app.router.add_get("/api/v1/quick-fix", leak)


def add_a_wildcard(app: web.Application) -> None:
    app.router.add_route("*", "/api/v1/{name}-fix", leak)


def add_a_sub_application(app: web.Application) -> None:
    sub = web.Application()
    sub.router.add_get("/quick-fix", leak)
    app.add_subapp("/api/v1/", sub)


def add_a_class(app: web.Application) -> None:
    class Leak(web.View):
        async def get(self) -> web.Response:
            return await leak(self.request)

    app.router.add_view("/api/v1/quick-fix", Leak)


def add_what_calls_itself_a_row(app: web.Application) -> None:
    @wraps(leak)
    async def endpoint(request: web.Request) -> web.Response:
        return await leak(request)

    endpoint.row = "public"  # type: ignore[attr-defined]
    app.router.add_get("/api/v1/quick-fix", endpoint)


@pytest.mark.parametrize(
    "add", [add_plainly, add_a_wildcard, add_a_sub_application, add_a_class, add_what_calls_itself_a_row]
)
async def test_a_route_without_a_row_is_served_to_nobody(
    database_url: str, capsys: pytest.CaptureFixture[str], add: Callable[[web.Application], None]
) -> None:
    app = build_app(make_settings(database_url))
    add(app)
    async with client_of(app) as client:
        token = await token_of(client, f"{add.__name__}@example.com")
        for headers in ({}, {"Authorization": f"Bearer {token}"}):
            answer = await client.get("/api/v1/quick-fix", headers=headers)
            assert (answer.status, answer.content_type) == (500, "application/problem+json")
            assert "everybody" not in await answer.text()
    assert "route_without_row" in capsys.readouterr().out


async def test_the_port_of_the_metrics_serves_no_route_without_a_row_either(database_url: str) -> None:
    app = build_metrics_app(build_app(make_settings(database_url, metrics_port=9999)))
    app.router.add_get("/quick-fix", leak)
    async with client_of(app) as client:
        assert (await client.get("/metrics")).status == 200
        answer = await client.get("/quick-fix")
        assert (answer.status, "everybody" in await answer.text()) == (500, False)
        assert (await client.get("/nope")).status == 404
        assert (await client.post("/metrics")).status == 405


async def test_what_is_not_there_and_preflights_are_the_same_for_everybody(database_url: str) -> None:
    async with client_of(build_app(make_settings(database_url))) as client:
        token = await token_of(client, "the-same@example.com")
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {token}"}):
            assert (await client.get("/nope", headers=headers)).status == 404
            assert (await client.delete("/api/v1/sync", headers=headers)).status == 405
            assert (await client.options("/api/v1/sync", headers=headers)).status == 204
