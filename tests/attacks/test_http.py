"""H1 to H14: HTTP itself, on bare sockets."""

import asyncio
import time
from uuid import uuid4

import pytest

from tests.attacks.raw import ask, exchange, request
from tests.client import Api, User
from tests.conftest import make_settings, running_service
from tests.server.test_runner import BROKEN
from tests.sockets import connect, talk
from todo_service.routes import request_bodies
from todo_service.server import runner

TASKS = "/api/v1/tasks"
JSON = ("Content-Type", "application/json")


def smuggled(user: User, title: str) -> bytes:
    """A second request, which must not be carried out."""
    body = b'{"title":"%s"}' % title.encode()
    return request("POST", TASKS, [("Authorization", f"Bearer {user.token}"), JSON], body)


SMUGGLING = {
    "TE and CL": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two CL": b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "CL with a plus": b"Content-Length: +0\r\n\r\n",
    "CL with an underscore": b"Content-Length: 0_0\r\n\r\n",
    "TE xchunked": b"Transfer-Encoding: xchunked\r\n\r\n",
    "TE chunked, identity": b"Transfer-Encoding: chunked, identity\r\n\r\n",
    "TE twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : 0\r\n\r\n",
    "a folded line": b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a bare line feed": b"X: a\nContent-Length: 0\r\n\r\n",
    "a bare carriage return": b"X: a\rContent-Length: 0\r\n\r\n",
    "NUL in a header": b"X: a\0b\r\n\r\n",
    "a bad chunk": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a chunk size with 0x": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
async def test_h1_smuggling(service: Api, eve: User, name: str) -> None:
    title = f"smuggled {uuid4().hex}"
    head = (
        f"POST {TASKS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {eve.token}\r\nContent-Type: application/json\r\n"
    )
    replies = await exchange(service, head.encode() + SMUGGLING[name] + smuggled(eve, title), until_closed=True)
    assert replies[0].status in {400, 415}, [reply.status for reply in replies]
    assert title not in str((await service.get(f"{TASKS}?limit=1000", as_=eve)).body), "it was carried out"


@pytest.mark.parametrize("raw", BROKEN, ids=lambda raw: repr(raw[:30]))
async def test_h2_refusals_of_the_parser(service: Api, raw: bytes) -> None:
    [reply] = await exchange(service, raw, until_closed=True)
    assert (reply.status, reply.problem()) == (400, "bad-request")


async def test_h3_methods(service: Api, eve: User) -> None:
    token = ("Authorization", f"Bearer {eve.token}")
    for method, status in (("TRACE", 405), ("PUT", 405), ("DELETE", 405)):
        reply = await ask(service, method, TASKS, [token])
        assert (reply.status, "GET" in reply.one("allow")) == (status, True), method
    assert (await ask(service, "FOO", TASKS, [token])).status == 400
    assert (await ask(service, "GET", "/no/such/path")).problem() == "not-found"
    assert (await ask(service, "OPTIONS", TASKS)).status == 204
    for target in ("*", "example.com:443"):
        raw = f"{'OPTIONS' if target == '*' else 'CONNECT'} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        replies = await exchange(service, raw.encode())
        assert replies[0].status in {204, 400, 404, 405}


async def test_h4_overrides_are_ignored(service: Api, eve: User) -> None:
    task = (await service.post(TASKS, {"title": "t"}, as_=eve)).body
    path = f"{TASKS}/{task['id']}"
    for name, value in (
        ("X-HTTP-Method-Override", "DELETE"), ("X-Method-Override", "DELETE"), ("X-Original-URL", "/api/v1/users"),
        ("X-Rewrite-URL", "/api/v1/users"), ("X-Forwarded-Prefix", "/evil"),
    ):  # fmt: skip
        reply = await ask(service, "GET", path, [(name, value)], as_=eve)
        assert (reply.status, reply.json) == (200, task)
    assert (await ask(service, "GET", f"{path}?_method=DELETE", as_=eve)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/tasks", "/api/x/../v1/tasks", "/api/%2e%2e/v1/tasks", "/api/v1/tasks;x=1", "/API/v1/tasks", "/%00",
        "/api/v1/tasks/a%2fb", "/api/v1/tasks/%00", "//evil.example/", "/api/v1/tasks//", "/assets/../../etc/passwd",
        "/assets/x/%2e%2e%2fsettings.py",
    ],
)  # fmt: skip
async def test_h5_paths(service: Api, eve: User, path: str) -> None:
    reply = await ask(service, "GET", path, as_=eve)
    assert reply.status in {400, 404, 405}
    assert not reply.all("location")
    assert (await exchange(service, b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"))[0].status in {400, 404}


async def test_h6_hosts(database_url: str) -> None:
    settings = make_settings(database_url, environment="staging", allowed_hosts="good.example")
    async with running_service(settings) as api:
        for host in ("evil", "good.example.evil", "a@b", "good.example@evil", "[::1", ""):
            [reply] = await exchange(
                api, request("GET", "/", host=host) if host else b"GET / HTTP/1.1\r\nHost:\r\n\r\n"
            )
            assert reply.status in {400, 421}, host
        [absolute] = await exchange(api, b"GET http://evil/ HTTP/1.1\r\nHost: good.example\r\n\r\n")
        assert absolute.status in {400, 421}
        [good] = await exchange(api, request("GET", "/", host="good.example"))
        assert good.status == 200
        assert b"evil" not in good.body


async def test_h7_and_h8_slow_clients(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "KEEPALIVE_SECONDS", 0.5)
    monkeypatch.setattr(request_bodies, "BODY_SECONDS", 0.5)
    async with running_service(make_settings(database_url)) as api:
        ada = await api.new_user()
        async with connect(api) as idle, connect(api) as dribbling, connect(api) as kept:
            await dribbling.send(b"GET / HT")
            await kept.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await kept.answer())[0] == 200
            began = time.monotonic()
            assert all(await asyncio.gather(idle.is_closed(), dribbling.is_closed(), kept.is_closed()))
            assert time.monotonic() - began < 3
        async with talk(api, "POST", TASKS, as_=ada, headers={"Content-Length": "100"}) as slow:
            await slow.send(b"{")
            assert (await slow.answer())[0] == 408
            assert await slow.is_closed()


async def test_h9_expectations(service: Api, eve: User) -> None:
    body = b'{"title":"t"}'
    reply = await ask(service, "POST", TASKS, [("Expect", "foo")], body, as_=eve)
    assert (reply.status, reply.problem()) == (417, "expectation-failed")
    data = request("POST", TASKS, [("Expect", "100-continue"), JSON, ("Authorization", f"Bearer {eve.token}")], body)
    assert (await exchange(service, data))[0].status in {100, 201}


async def test_h10_old_versions(service: Api) -> None:
    assert (await exchange(service, b"GET /health/live HTTP/0.9\r\n\r\n"))[0].status == 400
    for raw in (b"GET /\r\n\r\n", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", b"GET / HTTP/1.9\r\nHost: a\r\n\r\n"):
        replies = await exchange(service, raw)
        assert not replies or replies[0].status in {400, 505}


async def test_h11_a_thousand_pipelined_requests(service: Api) -> None:
    data = request("GET", "/health/live") * 999 + request("GET", "/health/live", [("Connection", "close")])
    replies = await exchange(service, data, until_closed=True)
    assert [reply.status for reply in replies] == [200] * 1000


async def test_h12_every_answer_has_the_security_headers(service: Api, eve: User, database_url: str) -> None:
    replies = [
        await ask(service, method, path, headers, body, as_=eve)
        for method, path, headers, body in (
            ("GET", TASKS, [], b""), ("POST", TASKS, [], b'{"title":"t"}'), ("POST", TASKS, [], b"{"),
            ("GET", "/nope", [], b""),
            ("DELETE", TASKS, [], b""), ("POST", TASKS, [("Content-Type", "x/y")], b"x"), ("GET", "/docs", [], b""),
            ("OPTIONS", TASKS, [], b""), ("GET", "/metrics", [], b""), ("GET", "/health", [], b""),
        )
    ]  # fmt: skip
    for reply in replies:
        reply.assert_safe()
        assert reply.one("content-security-policy")
        assert reply.one("cache-control")
        assert reply.one("x-request-id")
    async with running_service(make_settings(database_url, environment="production", bcrypt_rounds=12)) as production:
        secure = await ask(production, "GET", "/health/live")
        assert secure.one("strict-transport-security").startswith("max-age=31536000")


@pytest.mark.parametrize("value", ["x" * 500, "${jndi:ldap://evil}", "a b", "<script>", "é", "a;b", ""])
async def test_h13_request_ids_of_clients(service: Api, value: str) -> None:
    reply = await ask(service, "GET", "/", [("X-Request-ID", value)])
    assert reply.one("x-request-id") != value
    assert (await ask(service, "GET", "/", [("X-Request-ID", "good-1.2_3")])).one("x-request-id") == "good-1.2_3"
