"""How a body comes in: what is refused before it is read, and how long a slow one may take."""

import asyncio
import time

import pytest

from tests.client import Api, User
from tests.sockets import connect, talk
from todo_service.routes import request_bodies

LIMIT = 64 * 1024


def padded(size: int) -> bytes:
    return b'{"title": "t"}'.ljust(size)


async def test_a_body_may_have_64_kib(api: Api, ada: User) -> None:
    assert (await api.post("/api/v1/tasks", raw=padded(LIMIT), as_=ada)).status == 201
    answer = await api.post("/api/v1/tasks", raw=padded(LIMIT + 1), as_=ada)
    assert (answer.status, answer.problem()) == (413, "body-too-large")
    assert "65,536" in answer.body["detail"]


async def test_413_by_content_length_before_anything_is_read(api: Api, ada: User) -> None:
    async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Content-Length": "7000000000"}) as connection:
        status, problem = await connection.answer()
        assert (status, problem["type"]) == (413, "/problems/body-too-large")
        assert await connection.is_closed()


async def test_413_while_a_chunked_body_is_read(api: Api, ada: User) -> None:
    async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Transfer-Encoding": "chunked"}) as connection:
        for _ in range(5):
            await connection.send(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        assert (await connection.answer())[0] == 413


async def test_a_chunked_body_is_a_body(api: Api, ada: User) -> None:
    async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Transfer-Encoding": "chunked"}) as connection:
        await connection.send(b'8\r\n{"title"\r\n5\r\n:"t"}\r\n0\r\n\r\n')
        assert (await connection.answer())[0] == 201


async def test_a_chunked_body_may_turn_out_to_be_none(api: Api, ada: User) -> None:
    task = (await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)).body
    head = f"PATCH /api/v1/tasks/{task['id']}/complete HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    async with connect(api) as connection:
        await connection.send(f"{head}Authorization: Bearer {ada.token}\r\n\r\n".encode())
        await asyncio.sleep(0.1)
        await connection.send(b"0\r\n\r\n")
        status, toggled = await connection.answer()
        assert (status, toggled["completed"]) == (200, True)


async def test_a_broken_chunk_is_400(api: Api, ada: User) -> None:
    async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Transfer-Encoding": "chunked"}) as connection:
        await connection.send(b"zz\r\n{}")
        assert (await connection.answer())[0] == 400


@pytest.mark.parametrize(
    ("method", "content_type", "status"),
    [
        ("POST", "application/json", 201),
        ("POST", "application/json; charset=utf-8", 201),
        ("POST", 'Application/JSON;charset="UTF-8"', 201),
        ("POST", "application/merge-patch+json", 415),
        ("POST", "text/plain", 415),
        ("POST", "", 415),
        ("POST", "application/x-www-form-urlencoded", 415),
        ("POST", "multipart/form-data; boundary=x", 415),
        ("POST", "application/json; charset=utf-16", 415),
        ("POST", "application/json; charset=utf-7", 415),
        ("POST", "application/json; charset=nope", 415),
        ("POST", "application/jsonp", 415),
        ("PATCH", "application/merge-patch+json", 200),
        ("PATCH", "application/json", 200),
        ("PATCH", "text/json", 415),
        ("PUT", "application/merge-patch+json", 415),
    ],
)
async def test_415_unless_json_in_utf_8(api: Api, ada: User, method: str, content_type: str, status: int) -> None:
    task = (await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)).body
    path = "/api/v1/tasks" if method == "POST" else f"/api/v1/tasks/{task['id']}"
    answer = await api.send(method, path, raw=b'{"title": "u"}', headers={"Content-Type": content_type}, as_=ada)
    assert answer.status == status
    if status == 415:
        assert answer.problem() == "unsupported-media-type"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity", "nope"])
async def test_415_for_any_content_encoding(api: Api, ada: User, encoding: str) -> None:
    answer = await api.post("/api/v1/tasks", raw=b"\x1f\x8b", headers={"Content-Encoding": encoding}, as_=ada)
    assert (answer.status, answer.problem()) == (415, "unsupported-media-type")


async def test_a_slow_body_is_408_and_the_connection_closes(
    api: Api, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_bodies, "BODY_SECONDS", 0.3)
    async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Content-Length": "100"}) as connection:
        started = time.monotonic()
        answer = asyncio.ensure_future(connection.answer())
        while not answer.done() and time.monotonic() - started < 5:
            await connection.send(b" ")
            await asyncio.sleep(0.05)
        status, problem = await answer
        assert (status, problem["type"]) == (408, "/problems/body-timeout")
        assert time.monotonic() - started < 2
        assert await connection.is_closed()


async def test_a_body_is_asked_for_only_once_the_caller_is_known(api: Api, ada: User) -> None:
    expecting = {"Content-Length": "14", "Expect": "100-continue"}
    async with talk(api, "POST", "/api/v1/tasks", headers=expecting) as connection:
        assert (await connection.answer())[0] == 401, "and no 100 before it"
    async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers=expecting) as connection:
        assert (await connection.line()).startswith("HTTP/1.1 100")
        await connection.line()
        await connection.send(b'{"title": "t"}')
        assert (await connection.answer())[0] == 201
    async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers=expecting | {"Expect": "tea"}) as connection:
        assert (await connection.answer())[0] == 417
    async with talk(api, "POST", "/nope", headers=expecting | {"Expect": "tea"}) as connection:
        status, problem = await connection.answer()
        assert (status, problem["type"]) == (417, "/problems/expectation-failed")
        assert connection.headers["x-request-id"] == problem["request_id"]


async def test_a_client_that_goes_away_in_the_middle_harms_nobody(api: Api, ada: User) -> None:
    for _ in range(3):
        async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Content-Length": "100"}) as connection:
            await connection.send(b'{"title":')
    assert (await api.get("/api/v1/tasks", as_=ada)).body["total"] == 0
