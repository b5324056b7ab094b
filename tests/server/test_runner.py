"""HTTP below the application: broken requests, slow clients, and a polite end."""

import asyncio
import json
import os
import signal
import sys
import time
from uuid import uuid4

import pytest
from aiohttp import web

from tests.client import Api, User
from tests.conftest import SECRET_KEY, make_settings, running_service
from tests.process import served
from tests.sockets import connect, talk
from todo_service.app import build_app
from todo_service.auth.access import Access
from todo_service.routes.table import Route, register
from todo_service.server import connections, runner

BROKEN = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03canary\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("raw", BROKEN, ids=lambda raw: repr(raw[:30]))
async def test_broken_http_is_a_problem_document_too(api: Api, raw: bytes) -> None:
    async with connect(api) as connection:
        await connection.send(raw)
        status, problem = await connection.answer()
        assert (status, problem["type"]) == (400, "/problems/bad-request")
        assert connection.headers["content-type"] == "application/problem+json"
        assert connection.headers["server"] == "todo-service"
        assert connection.headers["x-content-type-options"] == "nosniff"
        assert connection.headers["x-request-id"] == problem["request_id"]
        assert "canary" not in json.dumps(problem)
        assert await connection.is_closed()


TOO_LARGE = {
    "a line": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri-too-long"),
    "a query": (b"GET /?" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri-too-long"),
    "a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: /" + b"x" * 9000 + b"\r\n\r\n", 431, "headers-too-large"),
    "a name": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x" * 9000 + b": 1\r\n\r\n", 431, "headers-too-large"),
    "headers": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 200 + b"\r\n", 431, "headers-too-large"),
}


@pytest.mark.parametrize(("raw", "status", "name"), TOO_LARGE.values(), ids=TOO_LARGE)
async def test_too_large_heads_are_named(api: Api, raw: bytes, status: int, name: str) -> None:
    async with connect(api) as connection:
        await connection.send(raw)
        answered, problem = await connection.answer()
        assert (answered, problem["type"]) == (status, f"/problems/{name}")
        assert await connection.is_closed()


async def test_options_of_the_server_itself(api: Api) -> None:
    async with connect(api) as connection:
        await connection.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await connection.line()).startswith("HTTP/1.1 204")


async def test_a_request_behind_a_broken_one_is_not_done(api: Api, ada: User) -> None:
    body = b'{"title": "smuggled"}'
    head = f"POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ada.token}\r\n"
    hidden = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    async with connect(api) as connection:
        await connection.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden
        )
        assert (await connection.answer())[0] == 400
        assert await connection.is_closed()
    assert (await api.get("/api/v1/tasks", as_=ada)).body["total"] == 0


async def test_pipelined_requests_are_answered_in_order(api: Api) -> None:
    async with connect(api) as connection:
        await connection.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\nGET /nope HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        statuses = [(await connection.answer())[0] for _ in range(40)]
    assert statuses == [200, 404] * 20


async def test_slow_headers_and_idle_connections_are_closed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "KEEPALIVE_SECONDS", 0.3)
    async with running_service(make_settings(database_url)) as api, connect(api) as idle, connect(api) as slow:
        await slow.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        async with connect(api) as again:
            await again.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await again.answer())[0] == 200
            assert all(await asyncio.gather(idle.is_closed(), slow.is_closed(), again.is_closed()))


async def test_the_limits_reach_the_connections(database_url: str) -> None:
    """aiohttp drops all of them, with a mere warning, if one is misspelt."""
    async with running_service(make_settings(database_url)) as api, connect(api):
        await asyncio.sleep(0.05)
        assert (await api.get("/health/live")).status == 200
        settings = {"keepalive_timeout": 30, "max_line_size": 8190, "max_field_size": 8192}
        found = [one for one in _protocols() if one.keepalive_timeout == settings["keepalive_timeout"]]
        assert found
        assert all(one.max_line_size == settings["max_line_size"] for one in found)
        assert all(one.max_field_size == settings["max_field_size"] for one in found)


def _protocols() -> list[connections._Protocol]:
    import gc

    return [thing for thing in gc.get_objects() if isinstance(thing, connections._Protocol)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_it_without_breaking_a_request(database_url: str, number: signal.Signals) -> None:
    async with served(DATABASE_URL=database_url) as (process, api):
        ada = await api.new_user()
        async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Content-Length": "14"}) as begun:
            await asyncio.sleep(0.1)
            process.send_signal(number)
            await asyncio.sleep(0.3)
            await begun.send(b'{"title": "t"}')
            assert (await begun.answer())[0] == 201
            assert begun.headers["connection"] == "close"
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_terminal_that_goes_away_breaks_no_request(database_url: str) -> None:
    master, terminal = os.openpty()
    command = ("setsid", "--ctty", "--wait", sys.executable, "-m", "todo_service")
    async with served(*command, output=terminal, stdin=terminal, DATABASE_URL=database_url) as (process, api):
        os.close(terminal)
        ada = await api.new_user()
        async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Content-Length": "14"}) as begun:
            await asyncio.sleep(0.1)
            os.close(master)
            await asyncio.sleep(0.3)
            await begun.send(b'{"title": "t"}')
            assert (await begun.answer())[0] == 201
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_nohup_is_heeded(database_url: str) -> None:
    async with served("nohup", sys.executable, "-m", "todo_service", DATABASE_URL=database_url) as (process, api):
        process.send_signal(signal.SIGHUP)
        await asyncio.sleep(0.3)
        assert (await api.get("/health/ready")).status == 200
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_body_still_arriving_when_the_listener_closes_is_read_to_its_end(database_url: str) -> None:
    async with served(DATABASE_URL=database_url) as (process, api):
        ada = await api.new_user()
        async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Content-Length": "14"}) as begun:
            await asyncio.sleep(0.1)
            process.terminate()
            await asyncio.sleep(2)
            with pytest.raises(ConnectionRefusedError):
                async with connect(api):
                    pass
            await begun.send(b'{"title": "t"}')
            assert (await begun.answer())[0] == 201
        assert await asyncio.wait_for(process.wait(), 3) == 0


async def test_a_request_that_does_not_end_gets_its_time_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once more for each way in which aiohttp waits: whoever ends the process has told it how long."""
    monkeypatch.setattr(runner, "SHUTDOWN_SECONDS", 4)

    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError("somebody waited")

    app = build_app(make_settings(database_url))
    register(app, [Route("GET", "/never", never, Access.PUBLIC, "Never answers")])
    serving = runner.Runner(app)
    await serving.setup()
    listener = runner.bind("127.0.0.1", 0)
    await web.SockSite(serving, listener).start()
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await serving.cleanup()
    assert 4 < time.monotonic() - began < 8
    assert await reader.read() == b""
    writer.close()


async def test_what_could_not_be_set_up_is_not_drained(database_url: str) -> None:
    async def fail(_: web.Application) -> None:
        raise RuntimeError("this one cannot start")

    app = build_app(make_settings(database_url, drain_seconds=60))
    app.on_startup.append(fail)
    serving = runner.Runner(app)
    with pytest.raises(RuntimeError, match="cannot start"):
        await serving.setup()
    async with asyncio.timeout(5):
        await serving.cleanup()


async def test_readiness_turns_503_while_connections_are_still_taken(database_url: str) -> None:
    async with served(DATABASE_URL=database_url, DRAIN_SECONDS="1") as (process, api):
        assert (await api.get("/health/ready")).status == 200
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        ready = await api.get("/health/ready")
        assert (ready.status, ready.body["reason"], ready.headers["Connection"]) == (503, "draining", "close")
        assert (await api.get("/health/live")).status == 200
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_the_log_is_json_with_request_ids_and_no_secret(database_url: str) -> None:
    async with served(DATABASE_URL=database_url) as (process, api):
        ada = await api.new_user()
        request_id = uuid4().hex
        await api.post("/api/v1/tasks", {"title": "a private title"}, as_=ada, headers={"X-Request-ID": request_id})
        await api.get(f"/api/{ada.id}/tasks?token={ada.token}%0a%1b[31m", as_=ada)
        await api.post("/api/v1/auth/login", {"email": ada.email, "password": "wrong horse 9"})
        process.terminate()
        output = (await process.communicate())[0].decode()
    lines = [line for line in output.splitlines() if line.startswith("{")]
    entries = [json.loads(line) for line in lines]
    created, written = (entry for entry in entries if entry.get("request_id") == request_id)
    assert (created["event"], written["event"]) == ("task_created", "request")
    assert created["user_id"] == ada.id
    assert (written["method"], written["route"], written["status"]) == ("POST", "/api/v1/tasks", 201)
    assert written["user_id"] == ada.id
    assert written["ms"] >= written["database_ms"] > 0
    assert {"registered", "sign_in_failed", "stopped"} <= {entry["event"] for entry in entries}
    for secret in (ada.token, ada.email, "correct horse 9", "wrong horse 9", "a private title", SECRET_KEY):
        assert secret not in output
