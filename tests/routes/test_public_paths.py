"""Behind a proxy that takes a path prefix off, every address that the service names is below the prefix."""

import pytest

from tests.client import Api
from tests.conftest import make_settings, running_service

BROWSER = {"Accept": "text/html"}


async def check_addresses(api: Api, prefix: str, headers: dict[str, str]) -> None:
    """Every address in an answer leads back through the proxy."""
    ada = await api.new_user()
    for title in ("one", "two"):
        created = await api.post("/api/v1/tasks", {"title": title}, as_=ada, headers=headers)
    assert created.headers["Location"] == f"{prefix}/api/v1/tasks/{created.body['id']}"
    listed = await api.get("/api/v1/tasks?limit=1", as_=ada, headers=headers)
    assert listed.headers["Link"].startswith(f"<{prefix}/api/v1/tasks?")
    for path in ("/openapi.json", "/api/v1/openapi.json"):
        document = await api.get(path, headers=headers)
        assert document.body["servers"][0]["url"] == (prefix or "/")
        flow = document.body["components"]["securitySchemes"]["signIn"]["flows"]["password"]
        assert flow["tokenUrl"] == f"{prefix}/api/v1/auth/token"
        assert (await api.get(path, headers=headers | {"If-None-Match": document.headers["ETag"]})).status == 304
    for path in ("/docs", "/api/v1/docs", "/redoc", "/", "/problems", "/problems/not-found"):
        page = (await api.get(path, headers=headers | BROWSER)).raw.decode()
        for attribute in ("src", "href", "data-document"):
            for value in page.split(f'{attribute}="')[1:]:
                assert value.startswith(f"{prefix}/"), (path, value[:80])
                assert not prefix or not value.startswith(f"{prefix}{prefix}")
    links = (await api.get("/", headers=headers)).body["links"]
    assert all(link.startswith(f"{prefix}/") for link in links.values())
    assert (await api.get("/nothing", headers=headers)).body["type"] == "/problems/not-found", "an identifier, no path"


async def test_the_prefix_is_a_setting(database_url: str) -> None:
    settings = make_settings(database_url, root_path="/todo/", trusted_proxies="127.0.0.1")
    async with running_service(settings) as api:
        await check_addresses(api, "/todo", {"X-Forwarded-Prefix": "/other"})


@pytest.mark.parametrize(
    ("said", "prefix"), [("/todo", "/todo"), ("/a/b/", "/a/b"), ("/outer, /inner", "/outer/inner"), ("/", "")]
)
async def test_a_trusted_proxy_says_the_prefix(database_url: str, said: str, prefix: str) -> None:
    async with running_service(make_settings(database_url, trusted_proxies="127.0.0.1")) as api:
        await check_addresses(api, prefix, {"X-Forwarded-Prefix": said})


async def test_nobody_else_says_it(api: Api) -> None:
    await check_addresses(api, "", {"X-Forwarded-Prefix": "/todo"})


@pytest.mark.parametrize(
    "said", ["//evil.example", "/a//b", "/../x", "https://evil.example", '/"x', "/a b", "/" + "x" * 300]
)
async def test_what_is_no_path_is_no_prefix(database_url: str, said: str) -> None:
    async with running_service(make_settings(database_url, trusted_proxies="127.0.0.1")) as api:
        await check_addresses(api, "", {"X-Forwarded-Prefix": said})


async def test_a_replayed_answer_says_the_address_of_the_first(database_url: str) -> None:
    async with running_service(make_settings(database_url, root_path="/todo")) as api:
        ada = await api.new_user()
        key = {"Idempotency-Key": "one"}
        first, second = [await api.post("/api/tasks", {"title": "a"}, as_=ada, headers=key) for _ in range(2)]
        assert first.headers["Location"] == second.headers["Location"] == f"/todo/api/tasks/{first.body['id']}"


async def test_a_kept_list_links_to_the_proxy_it_was_asked_through(database_url: str) -> None:
    async with running_service(make_settings(database_url, trusted_proxies="127.0.0.1")) as api:
        ada = await api.new_user()
        for title in ("one", "two"):
            await api.post("/api/v1/tasks", {"title": title}, as_=ada)
        for said in ("/one", "/two", "/one", ""):
            listed = await api.get("/api/v1/tasks?limit=1", as_=ada, headers={"X-Forwarded-Prefix": said})
            assert listed.headers["Link"].startswith(f"<{said}/api/v1/tasks?")
