"""The headers of every answer: all routes, all methods, all kinds of answer, walked in production."""

import itertools
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlencode
from uuid import uuid4

import pytest_asyncio

from tests.client import PASSWORD, Answer, Api, User
from tests.conftest import make_settings, run_sql, running_service, template_name, temporary_database
from tests.rows import path_of
from tests.sockets import connect
from todo_service.auth.access import Access
from todo_service.routes.all_routes import ROUTES

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "Server": "todo-service",
}
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")
CREDENTIALS = {"Authorization", "X-Service-Auth", "X-User-ID"}
PAGE = "https://app.example.com"


@pytest_asyncio.fixture(scope="module")
async def production(database_url: str) -> AsyncIterator[Api]:
    """The service in production."""
    settings = make_settings(database_url, environment="production", bcrypt_rounds=12, cors_origins=PAGE)
    async with running_service(settings) as running:
        yield running


def paths(user: User) -> Iterator[str]:
    """Every path, and some that are none; ending the account is left to others."""
    for path in sorted({route.path for route in ROUTES} - {"/api/v1/auth/me"}):
        yield path_of(path, user.id)
    yield from ("/nope", "/api/v1/tasks/not-an-id", "//", "/api/v1/tasks/")


def assert_complete(answer: Answer) -> None:
    for name, value in ALWAYS.items():
        assert answer.headers.getall(name, []) == [value], name
    assert len(answer.headers.getall("X-Request-ID")) == 1
    vary = ", ".join(answer.headers.getall("Vary", []))
    names = vary.split(", ")
    assert "Origin" in names
    assert len(names) == len(set(names))
    of_nobody = {"no-store", "public, no-cache"}
    assert answer.headers["Cache-Control"] in {*of_nobody, "private, no-cache"}
    assert (answer.headers["Cache-Control"] in of_nobody) == (not CREDENTIALS & set(names))
    assert CREDENTIALS.isdisjoint(names) or set(names) >= CREDENTIALS
    if answer.status >= 400:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "application/problem+json"
    if answer.status in {204, 304}:
        assert "Content-Type" not in answer.headers
    if b"token" in answer.raw and b'"openapi"' not in answer.raw:
        assert answer.headers["Cache-Control"] == "no-store"


async def test_every_answer_of_every_route(production: Api, api: Api, ada: User) -> None:
    conditional = {"Origin": PAGE, "If-None-Match": "*", "If-Match": '"0"'}
    kinds: list[tuple[str | None, dict[str, str]]] = [
        (None, {}), (None, {"Expect": "tea"}), (ada.token, {}), (ada.token, conditional), ("wrong.token.shown", {}),
    ]  # fmt: skip
    for path, method, (token, headers) in itertools.product(paths(ada), METHODS, kinds):
        bodies: list[bytes | None] = [None] if method in {"GET", "HEAD", "OPTIONS", "TRACE"} else [b"{", b"{}"]
        for raw in bodies:
            answer = await production.send(method, path, raw=raw, token=token, headers=headers)
            assert answer.status < 500 or path.startswith("/health"), (method, path, answer)
            assert_complete(answer)


async def test_what_belongs_to_a_user_is_private_everywhere(production: Api, ada: User) -> None:
    created = await production.post("/api/v1/tasks", {"title": "t"}, as_=ada)
    seen = 0
    for route in ROUTES:
        if route.method == "GET" and route.access is not Access.PUBLIC and route.access is not Access.ADMIN:
            path = route.path.format(user_id=ada.id, task_id=created.body["id"])
            for method in ("GET", "HEAD"):
                answer = await production.send(method, path, as_=ada)
                kept = "no-store" if "api-keys" in route.path or route.path.endswith("/tokens") else "private, no-cache"
                assert (answer.status, answer.headers["Cache-Control"]) == (200, kept), route
                assert_complete(answer)
                if tag := answer.headers.get("ETag"):
                    unchanged = await production.send(method, path, as_=ada, headers={"If-None-Match": tag})
                    assert unchanged.status == 304
                    for name in ("Cache-Control", "Vary", "ETag"):
                        assert unchanged.headers[name] == answer.headers[name]
                    assert_complete(unchanged)
                    seen += 1
    assert seen >= 16
    assert created.headers["Cache-Control"] == "private, no-cache"


async def test_credentials_are_never_stored(production: Api, ada: User) -> None:
    known = {"email": ada.email, "password": PASSWORD}
    refresh_token = ada.refresh_token
    for route in ROUTES:
        if route.access is not Access.PUBLIC or route.method == "GET":
            continue
        if route.path.endswith(("logout", "forgot", "reset", "verify")):  # none of these answers has a credential
            continue
        body = known if route.path.endswith(("login", "signin")) else {"refresh_token": refresh_token}
        if not route.path.endswith(("login", "signin", "refresh")):
            body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
        if route.path.endswith("token"):
            form = urlencode({"grant_type": "password", "username": ada.email, "password": PASSWORD}).encode()
            media = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = await production.post(route.path, raw=form, headers=media)
        else:
            answer = await production.post(route.path, body)
        assert answer.status in {200, 201, 202}, route
        refresh_token = answer.body.get("refresh_token", refresh_token)
        assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
        assert_complete(answer)


async def test_streams_outages_and_defects(postgres_url: str) -> None:
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        running_service(
            make_settings(url, environment="production", bcrypt_rounds=12, cors_origins=PAGE)
        ) as production,
    ):
        user = await production.new_user()
        for file in ("json", "csv", "ics"):
            exported = await production.get(f"/api/v1/export?format={file}", as_=user)
            assert (exported.status, exported.headers["Cache-Control"]) == (200, "private, no-cache")
            assert_complete(exported)
        await run_sql(url, "ALTER TABLE tasks ADD CONSTRAINT surprise CHECK (title <> 'surprise')")
        defect = await production.post("/api/v1/tasks", {"title": "surprise"}, as_=user)
        await run_sql(url, "ALTER TABLE tasks RENAME TO elsewhere")
        outage = await production.get("/api/v1/tasks", as_=user)
        assert (defect.status, outage.status) == (500, 503)
        assert_complete(defect)
        assert_complete(outage)


async def test_broken_http(production: Api) -> None:
    for raw in (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n", b"\x16\x03\x01\r\n\r\n"):
        async with connect(production) as connection:
            await connection.send(raw)
            assert (await connection.answer())[0] == 400
            for name, value in (ALWAYS | {"Cache-Control": "no-store", "Vary": "Origin"}).items():
                assert connection.headers[name.lower()] == value
