"""Hosts the service answers for."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import hdrs

from tests.client import Api
from tests.conftest import make_settings, running_service
from tests.sockets import connect

HOSTS = "api.example.com, *.apps.example.com, 192.0.2.7, [2001:db8::1]"
OURS = [
    "api.example.com", "api.example.com:8443", "API.Example.COM", "api.example.com.", "a.apps.example.com",
    "a.b.apps.example.com:80", "192.0.2.7:8000", "[2001:db8::1]:8000", "api.example.com:",
]  # fmt: skip
OTHERS = [
    "evil.example", "apps.example.com", "example.com", "api.example.com.evil.example", "xapi.example.com", "192.0.2.8",
    "a@api.example.com", "api.example.com/..", "api.example.com:port", "api example.com", "", "127.0.0.1", "localhost",
    "api.example.com, evil.example", ".apps.example.com", "api.example.com\xff",
]  # fmt: skip


@pytest_asyncio.fixture(scope="module")
async def production(database_url: str) -> AsyncIterator[Api]:
    """The service in production, answering for a few hosts."""
    settings = make_settings(database_url, environment="production", bcrypt_rounds=12, allowed_hosts=HOSTS)
    async with running_service(settings) as running:
        yield running


@pytest.mark.parametrize("host", OURS)
async def test_our_hosts_are_answered(production: Api, host: str) -> None:
    assert (await production.get("/", headers={"Host": host})).status == 200


@pytest.mark.parametrize("host", OTHERS)
async def test_other_hosts_are_421_but_for_probes(production: Api, host: str) -> None:
    for method, path in (
        ("GET", "/"),
        ("GET", "/nope"),
        ("POST", "/api/v1/tasks"),
        ("OPTIONS", "/"),
        ("PUT", "/health"),
    ):
        answer = await production.send(method, path, headers={"Host": host})
        assert (answer.status, answer.problem()) == (421, "misdirected-request")
        assert "evil" not in answer.body["detail"]
    for path in ("/health", "/health/", "/health/live", "/health/ready"):
        assert (await production.get(path, headers={"Host": host})).status == 200


async def test_the_target_of_a_request_names_its_host_too(production: Api) -> None:
    for target, header, status in (
        ("http://api.example.com/", "api.example.com", 200),
        ("http://api.example.com:81/", "a.apps.example.com", 200),
        ("http://evil.example/", "api.example.com", 421),
        ("http://api.example.com/", "evil.example", 421),
        ("http://api.example.com@evil.example/", "api.example.com", 421),
    ):
        async with connect(production) as connection:
            await connection.send(f"GET {target} HTTP/1.1\r\nHost: {header}\r\n\r\n".encode())
            assert (await connection.answer())[0] == status, target
    async with connect(production) as connection:
        await connection.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await connection.answer())[0] == 421


async def test_where_no_host_is_named_and_in_development_all_are_answered(database_url: str) -> None:
    for others in (
        {"allowed_hosts": HOSTS},
        {"environment": "production", "bcrypt_rounds": 12},
    ):
        async with running_service(make_settings(database_url, **others)) as api:
            for host in OTHERS:
                assert (await api.get("/", headers={"Host": host})).status == 200


async def test_a_preflight_for_another_host_is_not_granted(database_url: str) -> None:
    origin = "https://app.example.com"
    settings = make_settings(database_url, environment="staging", allowed_hosts=HOSTS, cors_origins=origin)
    async with running_service(settings) as api:
        asked = {"Origin": origin, "Access-Control-Request-Method": "GET", "Host": "evil.example"}
        answer = await api.send("OPTIONS", "/", headers=asked)
        assert (answer.status, answer.problem()) == (421, "misdirected-request")
        assert hdrs.ACCESS_CONTROL_ALLOW_ORIGIN not in answer.headers
        readable = await api.get("/", headers={"Origin": origin, "Host": "evil.example"})
        assert (readable.status, readable.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN]) == (421, origin)
