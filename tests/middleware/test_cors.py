"""What pages of other origins may read and send: those of `CORS_ORIGINS`, on every kind of answer; nobody else."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from aiohttp import hdrs
from multidict import CIMultiDict

from tests.client import Answer, Api, User
from tests.conftest import make_settings, run_sql, running_service, template_name, temporary_database
from tests.rows import path_of
from tests.sockets import connect
from todo_service.middleware.cors import ACCEPTED, EXPOSED
from todo_service.routes.all_routes import ROUTES

PAGE = "https://app.example.com"
OTHER_PAGE = "http://localhost:3000"
STRANGERS = [
    "https://evil.example", "null", "https://app.example.com.evil.example", "HTTPS://APP.EXAMPLE.COM",
    "https://app.example.com:8443", "http://app.example.com", "https://app.example.com/", "https://example.com", "*",
    "",
]  # fmt: skip
ALLOW = (hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS)
PREFLIGHT = (hdrs.ACCESS_CONTROL_ALLOW_METHODS, hdrs.ACCESS_CONTROL_ALLOW_HEADERS, hdrs.ACCESS_CONTROL_MAX_AGE)


@pytest_asyncio.fixture(scope="module")
async def cors(database_url: str) -> AsyncIterator[Api]:
    """The service with two pages that may read its answers."""
    async with running_service(make_settings(database_url, cors_origins=f"{PAGE}, {OTHER_PAGE}")) as running:
        yield running


@pytest_asyncio.fixture
async def user(cors: Api) -> User:
    return await cors.new_user()


def paths(user: User) -> Iterator[tuple[str, set[str]]]:
    """Every path, with the methods it has."""
    methods: dict[str, set[str]] = {}
    for route in ROUTES:
        methods.setdefault(route.path, set()).add(route.method)
        if route.method == hdrs.METH_GET:
            methods[route.path].add(hdrs.METH_HEAD)
    for path, known in methods.items():
        yield path_of(path, user.id), known


def preflight(origin: str, method: str = "PATCH", headers: str = "authorization,content-type") -> dict[str, str]:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return asked | ({"Access-Control-Request-Headers": headers} if headers else {})


def vary(answer: Answer) -> set[str]:
    return {name.strip() for value in answer.headers.getall("Vary", []) for name in value.split(",")}


def assert_may_read(answer: Answer, origin: str = PAGE) -> None:
    assert answer.headers.getall(hdrs.ACCESS_CONTROL_ALLOW_ORIGIN) == [origin]
    assert answer.headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] == "true"
    assert answer.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] == ",".join(EXPOSED)
    assert "Origin" in vary(answer)


def assert_may_not(answer: Answer) -> None:
    assert not [name for name in answer.headers if name.startswith("Access-Control-")]
    assert "Origin" in vary(answer)


async def test_every_route_may_be_read_by_a_named_page_only(cors: Api, user: User) -> None:
    for path, methods in paths(user):
        for method in methods | {"DELETE", "TRACE", "PROPFIND"}:
            for caller in (None, user):
                if caller and path.endswith("/auth/me") and method == "DELETE":
                    continue
                asked = {"as_": caller, "raw": b"{"} if method not in {"GET", "HEAD", "TRACE"} else {"as_": caller}
                assert_may_read(await cors.send(method, path, headers={"Origin": PAGE}, **asked))
                assert_may_not(await cors.send(method, path, headers={"Origin": "https://evil.example"}, **asked))
                assert_may_not(await cors.send(method, path, **asked))


async def test_every_kind_of_answer_may_be_read(cors: Api, user: User, api: Api) -> None:
    """The conversation a front end has, with all that can go wrong."""
    page = {"Origin": PAGE}
    created = await cors.post("/api/v1/tasks", {"title": "t"}, as_=user, headers=page | {"Idempotency-Key": "k"})
    task = f"/api/v1/tasks/{created.body['id']}"
    other = await cors.new_user()
    answers = {
        201: created,
        200: await cors.get(task, as_=user, headers=page),
        204: await cors.post("/api/v1/auth/logout", {"refresh_token": "x"}, headers=page),
        304: await cors.get(task, as_=user, headers=page | {"If-None-Match": created.headers["ETag"]}),
        400: await cors.post("/api/v1/tasks", raw=b"{", as_=user, headers=page),
        401: await cors.get(task, headers=page),
        403: await cors.get(f"/api/{other.id}/tasks", as_=user, headers=page),
        404: await cors.get("/nope", headers=page),
        405: await cors.put("/health", headers=page),
        409: await cors.post("/api/v1/tasks", {"id": created.body["id"], "title": "u"}, as_=user, headers=page),
        412: await cors.patch(task, {"title": "u"}, as_=user, headers=page | {"If-Match": '"0"'}),
        413: await cors.post("/api/v1/tasks", raw=b"x" * 70_000, as_=user, headers=page),
        415: await cors.post("/api/v1/tasks", raw=b"x", as_=user, headers=page | {"Content-Type": "text/plain"}),
        417: await cors.get("/nope", headers=page | {"Expect": "tea"}),
        422: await cors.post("/api/v1/tasks", {"title": ""}, as_=user, headers=page),
    }
    for status, answer in answers.items():
        assert answer.status == status
        assert_may_read(answer)
    again = await cors.post("/api/v1/tasks", {"title": "t"}, as_=user, headers=page | {"Idempotency-Key": "k"})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert_may_read(again)
    exported = await cors.get("/api/v1/export?format=csv", as_=user, headers={"Origin": OTHER_PAGE})
    assert exported.status == 200
    assert_may_read(exported, OTHER_PAGE)


async def test_an_outage_and_a_defect_may_be_read(postgres_url: str) -> None:
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        running_service(make_settings(url, cors_origins=PAGE)) as cors,
    ):
        user = await cors.new_user()
        await run_sql(url, "ALTER TABLE tasks ADD CONSTRAINT surprise CHECK (title <> 'surprise')")
        defect = await cors.post("/api/v1/tasks", {"title": "surprise"}, as_=user, headers={"Origin": PAGE})
        await run_sql(url, "ALTER TABLE tasks RENAME TO elsewhere")
        outage = await cors.get("/api/v1/tasks", as_=user, headers={"Origin": PAGE})
        assert (defect.status, outage.status) == (500, 503)
        assert_may_read(defect)
        assert_may_read(outage)


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_strangers_may_not_read(cors: Api, user: User, stranger: str) -> None:
    for path in ("/api/v1/tasks", "/nope"):
        assert_may_not(await cors.get(path, as_=user, headers={"Origin": stranger}))
    refused = await cors.send("OPTIONS", "/api/v1/tasks", headers=preflight(stranger))
    assert (refused.status, refused.problem()) == (403, "preflight-refused")
    assert_may_not(refused)
    assert len(stranger) < 2 or stranger.encode() not in refused.raw


async def test_two_origins_are_none(cors: Api) -> None:
    for origins in ([PAGE, PAGE], [PAGE, "https://evil.example"]):
        headers = CIMultiDict([("Origin", origin) for origin in origins])
        async with cors.session.get(cors.base + "/", headers=headers) as response:
            assert hdrs.ACCESS_CONTROL_ALLOW_ORIGIN not in response.headers
        headers.add("Access-Control-Request-Method", "GET")
        async with cors.session.options(cors.base + "/", headers=headers) as response:
            assert response.status == 403


async def test_a_preflight_names_what_the_path_takes_without_a_credential(cors: Api, user: User) -> None:
    for path, methods in paths(user):
        for method in methods:
            for token in (None, "wrong.token.shown"):
                answer = await cors.send("OPTIONS", path, headers=preflight(PAGE, method), token=token)
                assert (answer.status, answer.raw) == (204, b"")
                assert answer.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] == PAGE
                assert answer.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] == ", ".join(sorted(methods))
                assert answer.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] == ", ".join(ACCEPTED)
                assert int(answer.headers[hdrs.ACCESS_CONTROL_MAX_AGE]) > 0
                assert vary(answer) == {"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"}
                assert not [name for name in answer.headers if name.lower().startswith(("ratelimit", "x-ratelimit"))]


@pytest.mark.parametrize("headers", ["", "Authorization, If-Match", "x-request-id,idempotency-key", " ACCEPT , "])
async def test_headers_that_a_page_may_send(cors: Api, headers: str) -> None:
    answer = await cors.send("OPTIONS", "/api/v1/tasks", headers=preflight(PAGE, "POST", headers))
    assert answer.status == 204


async def test_a_page_may_send_any_header_unless_they_are_named(cors: Api, database_url: str) -> None:
    asked = "authorization,baggage,sentry-trace,Traceparent,not a name"
    granted = await cors.send("OPTIONS", "/api/v1/tasks", headers=preflight(PAGE, "POST", asked))
    assert granted.status == 204
    headers = granted.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS]
    assert headers == ", ".join((*ACCEPTED, "baggage", "sentry-trace", "traceparent"))
    settings = make_settings(database_url, cors_origins=(PAGE,), cors_allow_headers=("Traceparent",))
    async with running_service(settings) as narrow:
        for names, status in (("traceparent, authorization", 204), ("baggage", 403)):
            answer = await narrow.send("OPTIONS", "/api/v1/tasks", headers=preflight(PAGE, "POST", names))
            assert answer.status == status


async def test_a_preflight_for_what_is_not_there_is_refused(cors: Api) -> None:
    for path, asked, status, name in (
        ("/nope", preflight(PAGE), 404, "not-found"),
        ("/api/v1/tasks", preflight(PAGE, "PATCH"), 403, "preflight-refused"),
        ("/api/v1/tasks", preflight(PAGE, "get"), 403, "preflight-refused"),
        ("/api/v1/tasks", preflight(PAGE, ""), 403, "preflight-refused"),
    ):
        answer = await cors.send("OPTIONS", path, headers=asked)
        assert (answer.status, answer.problem()) == (status, name)
        assert not [header for header in (*ALLOW, *PREFLIGHT) if header in answer.headers]


async def test_options_of_nobody_says_what_the_path_takes(cors: Api, api: Api, user: User) -> None:
    for service in (cors, api):
        for path, methods in paths(user):
            for headers in ({}, {"Origin": PAGE}, {"Access-Control-Request-Method": "GET"}):
                answer = await service.send("OPTIONS", path, headers=headers)
                assert (answer.status, answer.raw) == (204, b"")
                assert set(answer.headers["Allow"].split(", ")) == methods | {"OPTIONS"}
                assert (hdrs.ACCESS_CONTROL_ALLOW_ORIGIN in answer.headers) == (service is cors and "Origin" in headers)
                assert not [name for name in PREFLIGHT if name in answer.headers]
        assert (await service.send("OPTIONS", "/nope")).problem() == "not-found"
    async with connect(cors) as connection:
        await connection.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await connection.line()).startswith("HTTP/1.1 204"), "about the server, not about a path"


async def test_without_a_setting_no_page_may_read(api: Api, ada: User) -> None:
    for path in ("/", "/nope", "/api/v1/tasks"):
        answer = await api.get(path, as_=ada, headers={"Origin": PAGE})
        assert not [name for name in answer.headers if name.startswith("Access-Control-")]
        assert "Origin" not in vary(answer)
    refused = await api.send("OPTIONS", "/api/v1/tasks", headers=preflight(PAGE))
    assert (refused.status, refused.problem()) == (403, "preflight-refused")


async def test_every_page_but_without_credentials(database_url: str) -> None:
    async with running_service(make_settings(database_url, cors_origins="*")) as api:
        for origin in (PAGE, "https://evil.example"):
            for answer in (
                await api.get("/api/v1/tasks", headers={"Origin": origin}),
                await api.send("OPTIONS", "/api/v1/tasks", headers=preflight(origin, "POST")),
            ):
                assert answer.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] == origin
                assert hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS not in answer.headers
                assert "Origin" in vary(answer)


async def test_broken_http_says_that_answers_vary(cors: Api) -> None:
    async with connect(cors) as connection:
        await connection.send(b"G@T / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example.com\r\n\r\n")
        assert (await connection.answer())[0] == 400
        assert connection.headers["vary"] == "Origin"
        assert "access-control-allow-origin" not in connection.headers


async def test_a_refusal_never_costs_the_connection(cors: Api) -> None:
    head = "OPTIONS /api/v1/tasks HTTP/1.1\r\nHost: a\r\nOrigin: null\r\nAccess-Control-Request-Method: GET\r\n\r\n"
    async with connect(cors) as connection:
        for _ in range(3):
            await connection.send(head.encode())
            assert (await connection.answer())[0] == 403
