"""Long answers are compressed for who wants that, and conditions hold with either form."""

import gzip
import json
from typing import Any

import pytest
import pytest_asyncio
from multidict import CIMultiDictProxy

from tests.client import Api, User
from tests.conftest import make_settings, running_service
from todo_service.routes import compression

GZIP, PLAIN = {"Accept-Encoding": "gzip, deflate, br"}, {"Accept-Encoding": "identity"}
LISTS = ("/api/v1/tasks?limit=200", "/api/tasks", "/api/users/{id}/tasks", "/api/v1/sync?limit=200")


Sent = tuple[int, CIMultiDictProxy[str], bytes]


async def raw(api: Api, path: str, user: User | None, headers: dict[str, str]) -> Sent:
    """An answer as it is sent."""
    sent = headers | ({"Authorization": f"Bearer {user.token}"} if user else {})
    async with api.session.get(api.base + path, headers=sent, auto_decompress=False) as response:
        return response.status, response.headers, await response.read()


async def busy_user(api: Api) -> User:
    """A user with many tasks."""
    user = await api.new_user()
    tasks = [{"title": f"task {number}", "description": "words " * 30} for number in range(200)]
    assert (await api.post("/api/v1/import", {"tasks": tasks}, as_=user)).status == 200
    return user


@pytest_asyncio.fixture
async def grace(api: Api) -> User:
    return await busy_user(api)


def comparable(document: Any) -> Any:
    """A document without the cursors, which differ from answer to answer."""
    if isinstance(document, dict):
        return {name: value for name, value in document.items() if "cursor" not in name}
    return document


@pytest.mark.parametrize("path", LISTS)
async def test_a_long_list_is_compressed_on_request(api: Api, grace: User, path: str) -> None:
    path = path.format(id=grace.id)
    for _ in range(2):  # read, then from the cache
        status, plain_headers, plain = await raw(api, path, grace, PLAIN)
        assert (status, "Content-Encoding" in plain_headers) == (200, False)
        status, headers, packed = await raw(api, path, grace, GZIP)
        assert (status, headers["Content-Encoding"]) == (200, "gzip")
        assert int(headers["Content-Length"]) == len(packed) < len(plain) / 4
        assert comparable(json.loads(gzip.decompress(packed))) == comparable(json.loads(plain))
        for found in (headers, plain_headers):
            assert {"Accept-Encoding", "Authorization"} <= set(found["Vary"].split(", "))
            assert found["Content-Type"] == "application/json"


async def test_each_form_has_its_tag_and_a_condition_takes_both(api: Api, grace: User) -> None:
    path = "/api/v1/tasks?limit=200"
    tags = {}
    for name, accepted in (("gzip", GZIP), ("plain", PLAIN)):
        tags[name] = (await raw(api, path, grace, accepted))[1]["ETag"]
    assert tags["gzip"] == tags["plain"].removesuffix('"') + '-gzip"', "other bytes, another tag"
    for accepted in (GZIP, PLAIN):
        for tag in (*tags.values(), f"W/{tags['gzip']}"):
            for fresh in ("", "&sort=-created_at"):  # from the cache, and confirmed by PostgreSQL
                status, headers, body = await raw(api, path + fresh, grace, accepted | {"If-None-Match": tag})
                if not fresh:
                    assert (status, body) == (304, b"")
                    assert "Accept-Encoding" in headers["Vary"]
    await api.post("/api/v1/tasks", {"title": "one more"}, as_=grace)
    for tag in tags.values():
        assert (await raw(api, path, grace, GZIP | {"If-None-Match": tag}))[0] == 200


async def test_a_copy_that_only_postgresql_confirms_keeps_its_tag(database_url: str) -> None:
    tags: dict[str, str] = {}
    for _ in range(2):  # the second service has nothing in its cache
        async with running_service(make_settings(database_url)) as api:
            if not tags:
                user = await busy_user(api)
                for accepted in ("gzip", "identity"):
                    _, headers, _ = await raw(api, "/api/tasks", user, {"Accept-Encoding": accepted})
                    tags[accepted] = headers["ETag"]
                continue
            for accepted, tag in tags.items():
                sent = {"Accept-Encoding": accepted, "If-None-Match": tag}
                status, headers, _ = await raw(api, "/api/tasks", user, sent)
                assert (status, headers["ETag"]) == (304, tag)


async def test_a_short_list_is_not_compressed(api: Api) -> None:
    user = await api.new_user()
    await api.post("/api/v1/tasks", {"title": "one"}, as_=user)
    _, headers, _ = await raw(api, "/api/v1/tasks", user, GZIP)
    assert "Content-Encoding" not in headers


async def test_metrics_are_compressed_on_request(api: Api) -> None:
    _, headers, packed = await raw(api, "/metrics", None, GZIP)
    assert (headers["Content-Encoding"], headers["Vary"]) == ("gzip", "Accept, Accept-Encoding")
    assert b"process_cpu_seconds_total" in gzip.decompress(packed)
    _, headers, plain = await raw(api, "/metrics", None, PLAIN)
    assert len(packed) < len(plain) / 4
    assert ("Content-Encoding" in headers, headers["Vary"]) == (False, "Accept, Accept-Encoding")


@pytest.mark.parametrize("size", [0, 1, compression.MAX_BYTES_HERE, 3 * compression.MAX_BYTES_HERE])
def test_what_is_compressed_comes_back(size: int) -> None:
    body = (b"0123456789" * size)[:size]
    assert gzip.decompress(compression.gzip(body)) == body
