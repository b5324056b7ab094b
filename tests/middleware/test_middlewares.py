"""What every answer carries, whatever made it."""

import asyncio
import re
from contextlib import suppress

import asyncpg
import pytest

from tests.client import Api, User
from tests.conftest import fill, make_settings, running_service
from tests.sockets import connect, talk
from todo_service import errors
from todo_service.middleware import streaming
from todo_service.middleware.errors import to_api_error

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Server": "todo-service",
}


async def test_every_answer_has_an_id_and_the_security_headers(api: Api, ada: User) -> None:
    for method, path in (
        ("GET", "/"), ("GET", "/health"), ("GET", "/nope"), ("DELETE", "/health"), ("GET", "/api/v1/tasks"),
        ("POST", "/api/v1/tasks"), ("OPTIONS", "/api/v1/tasks"), ("HEAD", "/api/v1/tasks"),
    ):  # fmt: skip
        for user in (None, ada):
            answer = await api.send(method, path, as_=user)
            assert {name: answer.headers.get(name) for name in ALWAYS} == ALWAYS
            assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-ID"])
            assert "Strict-Transport-Security" not in answer.headers


async def test_user_data_is_private_and_credentials_are_not_stored(api: Api, ada: User) -> None:
    assert (await api.get("/api/v1/tasks", as_=ada)).headers["Cache-Control"] == "private, no-cache"
    assert (await api.get("/api/v1/auth/me", as_=ada)).headers["Cache-Control"] == "private, no-cache"
    signed_in = await api.post("/api/auth/login", {"email": ada.email, "password": "correct horse 9"})
    assert (signed_in.headers["Cache-Control"], signed_in.headers["Pragma"]) == ("no-store", "no-cache")
    assert (await api.get("/nope")).headers["Cache-Control"] == "no-store"


async def test_production_asks_for_https(database_url: str) -> None:
    settings = make_settings(database_url, environment="production", bcrypt_rounds=12)
    async with running_service(settings) as api:
        assert "max-age=31536000" in (await api.get("/health/live")).headers["Strict-Transport-Security"]


@pytest.mark.parametrize("sane", ["a", "A-1_b.c", "x" * 64, "6d0f3b1e-7a52-4b6e-9d2f-3f1f0f1f2a3b"])
async def test_a_sane_request_id_is_kept(api: Api, sane: str) -> None:
    assert (await api.get("/nope", headers={"X-Request-ID": sane})).body["request_id"] == sane


@pytest.mark.parametrize("strange", ["", " ", "x" * 65, "a b", "a/b", "${jndi:ldap://x}", "é", 'a"b', "a;b", "١"])
async def test_a_strange_request_id_is_replaced(api: Api, strange: str) -> None:
    answer = await api.get("/nope", headers={"X-Request-ID": strange})
    assert answer.headers["X-Request-ID"] != strange
    assert answer.problem() == "not-found"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TimeoutError(), 503),
        (ConnectionRefusedError(), 503),
        (asyncpg.TooManyConnectionsError("x"), 503),
        (asyncpg.CannotConnectNowError("x"), 503),
        (asyncpg.QueryCanceledError("x"), 503),
        (asyncpg.ReadOnlySQLTransactionError("x"), 503),
        (asyncpg.UndefinedTableError("x"), 503),
        (asyncpg.DataError("x"), 500),
        (ValueError("x"), 500),
        (errors.NotFound(), 404),
    ],
)
def test_what_an_exception_means(error: Exception, status: int) -> None:
    assert to_api_error(error).status == status


async def test_a_client_that_does_not_wait_for_its_answer(api: Api, ada: User) -> None:
    for _ in range(5):
        request = asyncio.ensure_future(api.post("/api/v1/tasks", {"title": "t"}, as_=ada))
        await asyncio.sleep(0.001)
        request.cancel()
    await asyncio.sleep(0.1)
    assert (await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)).status == 201
    tasks = (await api.get("/api/v1/tasks", as_=ada)).body
    assert sorted(task["version"] for task in tasks["tasks"]) == list(range(1, tasks["total"] + 1))


def test_every_problem_type_has_a_name_of_its_own_and_words_for_people() -> None:
    kinds = list(errors.kinds())
    assert len({kind.name for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert 400 <= kind.status <= 599
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.name)
        assert kind.meaning
        assert kind.remedy


async def test_a_big_answer_comes_whole(api: Api, ada: User) -> None:
    for _ in range(70):
        await api.post("/api/v1/tasks", {"title": "t", "description": "d" * 5000}, as_=ada)
    plain = {"Accept-Encoding": "identity"}
    answer = await api.get("/api/v1/tasks", as_=ada, headers=plain)
    assert len(answer.raw) == int(answer.headers["Content-Length"]) > streaming.CHUNK
    assert (answer.body["total"], answer.headers["X-Content-Type-Options"]) == (70, "nosniff")
    head = await api.send("HEAD", "/api/v1/tasks", as_=ada, headers=plain)
    assert (head.status, head.headers["Content-Length"]) == (200, answer.headers["Content-Length"])


async def test_a_client_that_does_not_read_is_not_waited_for(
    api: Api, ada: User, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CHUNK_SECONDS", 0.3)
    await fill(database_url, ada.id, description="d" * 5000, count=5000)
    async with talk(api, "GET", "/api/tasks", as_=ada) as connection:
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(3)
        connection.reader._transport.resume_reading()  # type: ignore[attr-defined]
        received = 0
        with suppress(ConnectionError):
            while piece := await asyncio.wait_for(connection.reader.read(2**20), 5):
                received += len(piece)
    assert received < 20 * 2**20


async def test_http_before_1_0_is_refused_and_1_0_is_not_asked_to_continue(api: Api, ada: User) -> None:
    for line in (b"GET / HTTP/0.9", b"GET /"):
        async with connect(api) as connection:
            await connection.send(line + b"\r\n\r\n")
            assert (await connection.answer())[0] == 400
    head = f"POST /api/v1/tasks HTTP/1.0\r\nAuthorization: Bearer {ada.token}\r\nContent-Type: application/json\r\n"
    async with connect(api) as connection:
        await connection.send(f"{head}Content-Length: 14\r\nExpect: 100-continue\r\n\r\n".encode() + b'{"title": "t"}')
        assert (await connection.answer())[0] == 201


@pytest.mark.parametrize("path", ["/", "/nope", "/api/v1/tasks"])
async def test_an_expectation_nobody_can_meet_is_417_everywhere(api: Api, ada: User, path: str) -> None:
    answer = await api.get(path, as_=ada, headers={"Expect": "tea"})
    assert (answer.status, answer.problem()) == (417, "expectation-failed")


async def test_a_client_that_hangs_up_is_no_outage_of_the_database(
    api: Api, ada: User, capfd: pytest.CaptureFixture[str]
) -> None:
    expecting = {"Content-Length": "14", "Expect": "100-continue"}
    for _ in range(10):
        async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers=expecting):
            pass
    await asyncio.sleep(0.2)
    assert "database_unavailable" not in capfd.readouterr().out
