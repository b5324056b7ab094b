"""A real nginx in front of the real service: what the service says arrives as it was said."""

import asyncio
import io
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientConnectorError, ClientSession, TCPConnector
from aiohttp.web import BaseRequest, Response, Server, ServerRunner, SockSite

from tests.certificates import certificate_for
from tests.client import Answer, Api
from tests.conftest import fill, template_name, temporary_database
from tests.deploy.programs import DEPLOY, program, run, running
from tests.process import START_SECONDS, served
from tests.streams import stream
from todo_service import errors
from todo_service.middleware.response_headers import DEFAULTS, HTTPS_ONLY
from todo_service.server import runner
from todo_service.server.runner import KEEPALIVE_SECONDS

FILE = DEPLOY / "nginx/todo-service.conf"
AROUND = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    {temporary}
    include {folder}/todo-service.conf;
}}
"""
PLACES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def free_port() -> int:
    with runner.bind("127.0.0.1", 0) as listener:
        port: int = listener.getsockname()[1]
    return port


def write_configuration(folder: Path, upstream: int, *replaced: tuple[str, str]) -> tuple[int, int]:
    """The file as it is, but for addresses and folders; the ports of HTTP and HTTPS."""
    certificate_for(folder, "127.0.0.1")
    plain, encrypted = free_port(), free_port()
    text = FILE.read_text()
    for old, new in (
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{encrypted} ssl;"),
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{upstream};"),
        ("/etc/letsencrypt/live/todo.example.com", str(folder)),
        ("todo.example.com", "127.0.0.1"),
        *replaced,
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "todo-service.conf").write_text(text)
    temporary = " ".join(f"{place}_temp_path {folder}/{place};" for place in PLACES)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, temporary=temporary))
    return plain, encrypted


@asynccontextmanager
async def proxied(folder: Path, upstream: int, *replaced: tuple[str, str]) -> AsyncIterator[tuple[Api, Api]]:
    """nginx in front of that port, by HTTPS and by HTTP."""
    plain, encrypted = write_configuration(folder, upstream, *replaced)
    trust = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
    async with (
        running(program("nginx"), "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"),
        ClientSession(connector=TCPConnector(ssl=trust)) as session,
    ):
        front = Api(session, f"https://127.0.0.1:{encrypted}", as_described=False)
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    await front.get("/health/live")
                    break
                except ClientConnectorError:
                    await asyncio.sleep(0.05)
        yield front, Api(session, f"http://127.0.0.1:{plain}", as_described=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nginx")


@pytest_asyncio.fixture(scope="module")
async def web(folder: Path, postgres_url: str) -> AsyncIterator[tuple[Api, Api, Api, str]]:
    """The service by HTTPS, by HTTP and directly; its database."""
    program("nginx")
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        served(DATABASE_URL=url, RATE_LIMIT_ENABLED="false", TRUSTED_PROXIES="127.0.0.1") as (_, direct),
        proxied(folder, int(direct.base.rpartition(":")[2])) as (front, plain),
    ):
        yield front, plain, direct, url


Web = tuple[Api, Api, Api, str]


def test_nginx_takes_the_file(tmp_path: Path) -> None:
    write_configuration(tmp_path, 8000)
    done = run(program("nginx"), "-t", "-p", tmp_path, "-e", tmp_path / "error.log", "-c", tmp_path / "nginx.conf")
    assert done.returncode == 0, done.stdout
    assert "warn" not in done.stdout


def test_nginx_lets_go_of_a_connection_before_the_service_does() -> None:
    (seconds,) = re.findall(r"keepalive_timeout (\d+)s;  #", FILE.read_text())
    assert int(seconds) < KEEPALIVE_SECONDS


def test_its_own_refusals_are_of_kinds_that_are_explained() -> None:
    kinds = {f"/problems/{kind.name}": kind for kind in errors.kinds()}
    bodies = [json.loads(f"{{{body}}}") for body in re.findall(r"/_problem/\d+ '(.+)';", FILE.read_text())]
    assert len(bodies) == 6
    for body in bodies:
        assert set(body) == {"type", "title", "status", "detail"}
        assert (kinds[body["type"]].title, kinds[body["type"]].status) == (body["title"], body["status"])


async def test_conditional_requests_survive_compression(web: Web) -> None:
    front = web[0]
    ada = await front.new_user()
    body = {"title": "a", "description": "long " * 900}
    made = await front.post("/api/v1/tasks", body, as_=ada)
    path = f"/api/v1/tasks/{made.body['id']}"
    read = await front.get(path, as_=ada)
    assert read.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in read.headers["Vary"]
    tag = read.headers["ETag"]
    assert tag.startswith("W/")
    assert (await front.get(path, as_=ada, headers={"If-None-Match": tag})).status == 304
    changed = await front.patch(path, {"title": "b"}, as_=ada, headers={"If-Match": tag})
    assert changed.status == 200
    assert (await front.patch(path, {"title": "c"}, as_=ada, headers={"If-Match": tag})).problem() == (
        "precondition-failed"
    )
    listed = await front.get("/api/v1/tasks", as_=ada)
    assert listed.headers["Content-Encoding"] == "gzip"
    again = await front.get("/api/v1/tasks", as_=ada, headers={"If-None-Match": listed.headers["ETag"]})
    assert (again.status, again.raw) == (304, b"")


async def test_answers_with_tokens_are_not_compressed(web: Web) -> None:
    for path in ("/api/auth/signin", "/api/v1/auth/login"):
        answer = await web[0].post(path, {"email": "x@example.com", "password": "p" * 3000})
        assert answer.status == 401
        assert "Content-Encoding" not in answer.headers


async def test_an_export_comes_whole_and_begins_before_it_ends(web: Web) -> None:
    front, _, _, url = web
    ada = await front.new_user()
    await fill(url, ada.id, count=4000, description="words " * 100)
    headers = {"Authorization": f"Bearer {ada.token}"}
    async with front.session.get(front.base + "/api/v1/export?format=json", headers=headers) as answer:
        assert answer.headers.get("Transfer-Encoding") == "chunked"
        pieces = [piece async for piece in answer.content.iter_any()]
    assert len(json.loads(b"".join(pieces))["tasks"]) == 4000
    assert len(pieces) > 10


async def test_events_arrive_as_they_happen(web: Web) -> None:
    front = web[0]
    ada = await front.new_user()
    async with stream(front, token=ada.token) as opened:
        assert "Content-Encoding" not in opened.response.headers
        task = (await front.post("/api/v1/tasks", {"title": "t"}, as_=ada)).body
        event = await opened.next()
        assert event is not None
        assert event.body["changes"][0]["id"] == task["id"]
        waiting = asyncio.create_task(front.get(f"/api/v1/sync?cursor={event.id}&wait=30", as_=ada))
        await asyncio.sleep(0.5)
        await front.delete(f"/api/v1/tasks/{task['id']}", as_=ada)
        assert (await waiting).body["changes"] == [{"id": task["id"], "deleted": True}]


async def test_bodies_that_are_too_large_are_refused_by_the_service(web: Web) -> None:
    front = web[0]
    ada = await front.new_user()
    headers = {"Authorization": f"Bearer {ada.token}", "Content-Type": "application/json"}
    for path, size in (("/api/v1/tasks", 64 * 1024 + 1), ("/api/v1/import", 2**24 + 1), ("/api/v1/tasks", 5 * 2**20)):
        body = io.BytesIO(b" " * size)
        async with front.session.post(front.base + path, data=body, headers=headers) as response:
            answer = Answer(response.status, response.headers, await response.read())
        assert (answer.status, answer.problem()) == (413, "body-too-large")
    assert (await front.post("/api/v1/import", {"tasks": [{"title": "x" * 200}] * 4000}, as_=ada)).status == 200
    assert (await front.post("/api/v1/tasks", raw=b" " * 70_000)).problem() == "unauthenticated"


async def test_the_callers_request_id_passes_if_it_is_a_sane_one(web: Web) -> None:
    front = web[0]
    assert (await front.get("/", headers={"X-Request-ID": "mine-1"})).headers["X-Request-ID"] == "mine-1"
    named = (await front.get("/", headers={"X-Request-ID": 'no "quotes"'})).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", named)


async def test_long_headers_are_the_services_to_judge(web: Web) -> None:
    front = web[0]
    assert (await front.get("/api/v1/tasks", token="x" * 8100)).problem() == "unauthenticated"
    for size in (9000, 20_000):
        assert (await front.get("/", headers={"X-Long": "x" * size})).problem() == "headers-too-large"


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/x/../metrics", "/metrics?a=b"])
async def test_metrics_are_not_public(web: Web, path: str) -> None:
    from yarl import URL

    front = web[0]
    async with front.session.get(URL(front.base + path, encoded=True)) as answer:
        assert answer.status == 404
        assert (await answer.json(content_type="application/problem+json"))["type"] == "/problems/not-found"


UNPARSABLE = [
    (b"\x00\x01garbage\r\n\r\n", 400), (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400), (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 400), (b"GET http:// HTTP/1.1\r\n\r\n", 400),
    (b"TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405),
    (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    (b"GET /_problem/503 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 503),
]  # fmt: skip


async def test_its_own_answers_are_problem_documents_with_every_security_header(tmp_path: Path) -> None:
    program("nginx")
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    async with proxied(tmp_path, free_port()) as (front, _):
        for raw, status in UNPARSABLE:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(front.base.rpartition(":")[2]), ssl=trust)
            writer.write(raw)
            answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            head, _, body = answer.partition(b"\r\n\r\n")
            assert (int(head.split()[1]), json.loads(body)["status"]) == (status, status), raw[:40]
            lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
            assert lines["Content-Type"] == "application/problem+json"
            assert {name: lines.get(name) for name in DEFAULTS | HTTPS_ONLY} == DEFAULTS | HTTPS_ONLY
            assert "Retry-After" not in lines or status == 503
            assert ("Allow" in lines) is (status == 405)


async def test_http_is_sent_to_https_under_the_name_of_the_site(web: Web) -> None:
    for host in ("evil.example", "127.0.0.1"):
        url = web[1].base + "/api/v1/tasks?limit=1"
        async with web[1].session.get(url, allow_redirects=False, headers={"Host": host}) as answer:
            assert answer.headers["Location"] == "https://127.0.0.1/api/v1/tasks?limit=1"


async def test_http_is_sent_to_https(web: Web) -> None:
    async with web[1].session.get(web[1].base + "/api/v1/tasks?limit=1", allow_redirects=False) as answer:
        assert answer.status == 308
        assert answer.headers["Location"] == "https://127.0.0.1/api/v1/tasks?limit=1"


async def test_the_service_is_told_who_nginx_sees_and_not_what_a_client_claims(tmp_path: Path) -> None:
    """The limit of sign-ins goes by address: whoever could choose one would have none."""
    program("nginx")
    seen: list[Mapping[str, str]] = []

    async def remember(request: BaseRequest) -> Response:
        seen.append({name.title(): ", ".join(request.headers.getall(name)) for name in request.headers})
        return Response()

    upstream = ServerRunner(Server(remember))
    await upstream.setup()
    listener = runner.bind("127.0.0.1", 0)
    await SockSite(upstream, listener).start()
    claims = dict.fromkeys(("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"), "192.0.2.1")
    try:
        async with proxied(tmp_path, listener.getsockname()[1]) as (front, _):
            await front.get("/", headers=claims)
    finally:
        await upstream.cleanup()
    told = seen[-1]
    assert (told["X-Forwarded-For"], told["X-Forwarded-Proto"], told["Host"]) == ("127.0.0.1", "https", "127.0.0.1")
    assert not {"X-Forwarded-Host", "Forwarded", "Connection"} & set(told)


async def test_a_service_that_is_away_is_a_503_problem(tmp_path: Path) -> None:
    program("nginx")
    async with proxied(tmp_path, free_port()) as (front, _):
        answer = await front.get("/api/v1/tasks", headers={"X-Request-ID": "mine-2"})
    assert (answer.status, answer.problem()) == (503, "overloaded")
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["X-Request-ID"] == "mine-2"


async def test_the_service_below_a_path_of_another_site(tmp_path: Path, web: Web) -> None:
    """The change that docs/deploy.md names: a prefix that nginx takes off, and says."""
    changes = (
        ("    location / {\n        proxy", "    location /todo/ {\n        proxy"),
        ("location ~ ^/api/", "location ~ ^/todo/api/"),
        ("location ~ ^/+metrics", "location ~ ^/todo/+metrics"),
        ("proxy_pass http", "rewrite ^/todo(/.*)$ $1 break;\n        proxy_pass http"),
        ('proxy_set_header X-Forwarded-Prefix "";', "proxy_set_header X-Forwarded-Prefix /todo;"),
    )
    async with proxied(tmp_path, int(web[2].base.rpartition(":")[2]), *changes) as (front, _):
        origin, front.base = front.base, f"{front.base}/todo"
        ada = await front.new_user()
        created = await front.post("/api/v1/tasks", {"title": "one"}, as_=ada)
        await front.post("/api/v1/tasks", {"title": "two"}, as_=ada)
        front.base = origin
        assert (await front.get(created.headers["Location"], as_=ada)).body == created.body
        listed = await front.get("/todo/api/v1/tasks?limit=1", as_=ada)
        after = re.fullmatch('<(/todo/.+)>; rel="next"', listed.headers["Link"])
        assert after
        assert len((await front.get(after[1], as_=ada)).body["tasks"]) == 1
        page = (await front.get("/todo/docs")).raw.decode()
        for address in re.findall(r'(?:src|href|data-document)="(/[^"]+)"', page):
            assert (await front.get(address)).status == 200
        document = (await front.get("/todo/openapi.json")).body
        assert document["servers"][0]["url"] == "/todo"
        assert (await front.get(f"{document['servers'][0]['url']}/health")).status == 200
        signed_in = await front.post("/todo/api/v1/auth/login", {"email": "x@example.com", "password": "p" * 3000})
        assert (signed_in.status, signed_in.headers.get("Content-Encoding")) == (401, None)
        for path in ("/todo/metrics", "/health"):
            assert (await front.get(path)).status == 404
        assert (await web[0].get("/docs", headers={"X-Forwarded-Prefix": "/made-up"})).raw.count(b"made-up") == 0
