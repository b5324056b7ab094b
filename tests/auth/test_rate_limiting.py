"""Limits over HTTP: who is counted for what, what the answers say, and what is refused before it costs anything."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.client import PASSWORD, Answer, Api, User
from tests.conftest import make_settings, running_service
from tests.rows import rows
from todo_service.auth.passwords import PasswordHasher
from todo_service.limits.rate import Limit

SERVICE_TOKEN = "service-token-0123456789-abcdefghijkl"
QUOTAS = {"rate_limit_enabled": True, "rate_limit_read": 5, "rate_limit_write": 3, "rate_limit_auth": 4}
NAMES = ("RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@pytest_asyncio.fixture
async def limited(database_url: str) -> AsyncIterator[Api]:
    """A service with small limits, behind a proxy that the tests play themselves."""
    others = {"trusted_proxies": "127.0.0.1", "service_auth_token": SERVICE_TOKEN}
    async with running_service(make_settings(database_url, **QUOTAS, **others)) as running:
        yield running


def at(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


def left(answer: Answer) -> tuple[str, int]:
    found = re.fullmatch(r'"(\w+)";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
    assert found
    assert 1 <= int(found[3]) <= 60
    return found[1], int(found[2])


async def sign_in(api: Api, email: str, address: str, path: str = "/api/v1/auth/login") -> Answer:
    return await api.post(path, {"email": email, "password": "wrong horse 9"}, headers=at(address))


def test_every_row_is_counted_and_only_health_and_metrics_are_not() -> None:
    by_path = {(row.method, row.path): row.limit for row in rows()}
    for (method, path), limit in by_path.items():
        if path.startswith(("/health", "/metrics")):
            assert limit is Limit.NONE, path
        elif limit is not Limit.AUTH:
            assert limit is (Limit.READ if method == "GET" else Limit.WRITE), path
    assert {path for (_, path), limit in by_path.items() if limit is Limit.AUTH} == {
        "/api/v1/auth/register", "/api/auth/register", "/api/auth/signup", "/api/v1/auth/login", "/api/auth/login",
        "/api/auth/signin", "/api/v1/auth/refresh", "/api/auth/refresh", "/api/v1/auth/password", "/api/v1/auth/me",
        "/api/v1/auth/token", "/api/v1/auth/password/forgot", "/api/v1/auth/password/reset", "/api/v1/auth/email",
        "/api/v1/auth/email/verify",
    }  # fmt: skip


async def test_the_headers_count_down_and_beyond_the_limit_is_429(limited: Api, ada: User) -> None:
    for remaining in (4, 3, 2, 1, 0):
        answer = await limited.get("/api/v1/tasks", as_=ada)
        assert (answer.status, left(answer)) == (200, ("read", remaining))
        assert answer.headers["RateLimit-Policy"] == '"read";q=5;w=60'
        assert answer.headers["X-RateLimit-Limit"] == "5"
        assert answer.headers["X-RateLimit-Remaining"] == str(remaining)
        assert 0 < int(answer.headers["X-RateLimit-Reset"]) - time.time() <= 62
    refused = await limited.get("/api/v1/tasks", as_=ada)
    assert (refused.status, refused.problem(), left(refused)) == (429, "rate-limited", ("read", 0))
    seconds = int(refused.headers["Retry-After"])
    assert 50 <= seconds <= 60
    assert refused.headers["RateLimit"] == f'"read";r=0;t={seconds}'
    assert f"{seconds} s" in refused.body["detail"]
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    assert (await limited.get("/problems/rate-limited")).status == 200


async def test_reads_and_writes_are_counted_apart_and_each_user_for_themselves(
    limited: Api, ada: User, bob: User
) -> None:
    statuses = [(await limited.post("/api/v1/tasks", {"title": "t"}, as_=ada)).status for _ in range(4)]
    assert statuses == [201, 201, 201, 429]
    assert (await limited.get("/api/v1/tasks", as_=ada)).body["total"] == 3
    assert (await limited.post("/api/v1/tasks", {"title": "t"}, as_=bob)).status == 201


async def test_every_family_path_method_and_address_spends_the_same_share(limited: Api, ada: User) -> None:
    asked = ("/api/v1/tasks", "/api/tasks", f"/api/{ada.id}/tasks", f"/api/users/{ada.id}/tasks")
    for number, path in enumerate(asked):
        assert (await limited.get(path, as_=ada, headers=at(f"198.51.100.{number}"))).status == 200
    assert left(await limited.send("HEAD", "/api/v1/auth/me", as_=ada)) == ("read", 0)
    assert (await limited.get("/api/v1/auth/me", as_=ada, headers=at("198.51.100.99"))).status == 429


async def test_errors_say_it_too(limited: Api, ada: User) -> None:
    missing = f"/api/v1/tasks/{uuid4()}"
    for status, method, path, limit in (
        (404, "GET", missing, "read"), (403, "GET", "/api/nobody/tasks", "read"), (403, "GET", "/api/v1/users", "read"),
        (422, "GET", "/api/tasks?limit=0", "read"), (422, "POST", "/api/v1/tasks", "write"),
        (404, "PATCH", missing, "write"),
    ):  # fmt: skip
        answer = await limited.send(method, path, {}, as_=ada)
        assert (answer.status, left(answer)[0]) == (status, limit), path
        assert all(name in answer.headers for name in NAMES)


async def test_a_write_is_refused_before_its_body_is_read(limited: Api, ada: User) -> None:
    for _ in range(3):
        assert (await limited.post("/api/v1/tasks", raw=b"{", as_=ada)).status == 400
    assert (await limited.post("/api/v1/tasks", raw=b"x" * 70_000, as_=ada)).status == 429


async def test_what_is_not_limited_says_nothing(limited: Api, ada: User) -> None:
    for method, path in (
        ("GET", "/health"), ("GET", "/health/live"), ("GET", "/health/ready"), ("GET", "/nope"),
        ("DELETE", "/api/v1/tasks"), ("OPTIONS", "/api/v1/tasks"),
    ):  # fmt: skip
        for _ in range(7):
            answer = await limited.send(method, path, as_=ada)
            assert answer.status != 429
            assert not set(NAMES) & set(answer.headers)


async def test_public_pages_count_for_the_address(limited: Api) -> None:
    for path in ("/", "/problems/not-found", "/problems/nonsense", "/", "/"):
        assert (await limited.get(path, headers=at("198.51.100.1"))).status in {200, 404}
    assert (await limited.get("/", headers=at("198.51.100.1"))).status == 429
    assert (await limited.get("/", headers=at("198.51.100.2"))).status == 200


async def test_wrong_credentials_count_for_the_address_and_good_ones_pass(limited: Api, ada: User) -> None:
    statuses = [
        (await limited.get("/api/v1/tasks", token=f"wrong.{number}.token", headers=at("198.51.100.7"))).status
        for number in range(7)
    ]
    assert statuses == [401] * 5 + [429] * 2
    anonymous = await limited.get("/api/v1/tasks", headers=at("198.51.100.7"))
    assert (anonymous.status, left(anonymous)) == (429, ("read", 0))
    good = await limited.get("/api/v1/tasks", as_=ada, headers=at("198.51.100.7"))
    assert (good.status, left(good)) == (200, ("read", 4))


async def test_a_client_cannot_choose_its_address(limited: Api, database_url: str) -> None:
    for number in range(5):
        assert (await limited.get("/", headers=at(f"1.1.1.{number}, 198.51.100.3"))).status == 200
    assert (await limited.get("/", headers=at("1.1.1.99, 198.51.100.3"))).status == 429
    for number in range(5):
        assert (await limited.get("/", headers=at(f"2001:db8::{number}"))).status == 200
    assert (await limited.get("/", headers=at("2001:db8::1:2:3:4"))).status == 429
    async with running_service(make_settings(database_url, **QUOTAS)) as direct:
        answers = [await direct.get("/", headers=at(f"198.51.100.{number}")) for number in range(6)]
        assert [answer.status for answer in answers] == [200] * 5 + [429]
        for name in ("Forwarded", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "X-User-ID"):
            assert (await direct.get("/", headers={name: "198.51.100.77"})).status == 429


async def test_a_service_spends_the_share_of_the_user_it_acts_for(limited: Api, ada: User, bob: User) -> None:
    for_ada = {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": ada.id}
    for _ in range(3):
        assert (await limited.get("/api/v1/tasks", headers=for_ada)).status == 200
    assert left(await limited.get("/api/v1/tasks", as_=ada)) == ("read", 1)
    assert (await limited.get("/api/v1/tasks", headers=for_ada)).status == 200
    assert (await limited.get("/api/v1/tasks", headers=for_ada)).status == 429
    assert (await limited.get("/api/v1/tasks", headers=for_ada | {"X-User-ID": bob.id})).status == 200


async def test_an_id_that_looks_like_an_address_has_a_share_of_its_own(limited: Api) -> None:
    for _ in range(6):
        await limited.get("/", headers=at("198.51.100.4"))
    named = {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": "198.51.100.4"}
    assert left(await limited.get("/api/v1/tasks", headers=named)) == ("read", 4)


async def test_one_address_trying_many_emails(limited: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = count_hashes(monkeypatch)
    statuses = [(await sign_in(limited, f"{uuid4().hex}@example.com", "198.51.100.5")).status for _ in range(8)]
    assert statuses == [401] * 4 + [429] * 4
    assert len(checked) == 4, "a refused sign-in costs no hash"
    assert (await sign_in(limited, "x@example.com", "198.51.100.6")).status == 401


async def test_many_addresses_trying_one_email(limited: Api, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = count_hashes(monkeypatch)
    spellings = [ada.email, ada.email.upper(), f"{ada.email}", ada.email.title(), ada.email, ada.email.upper()]
    paths = ["/api/v1/auth/login", "/api/auth/login", "/api/auth/signin"] * 2
    answers = [
        await sign_in(limited, email, f"203.0.113.{number}", path)
        for number, (email, path) in enumerate(zip(spellings, paths, strict=True))
    ]
    assert [answer.status for answer in answers] == [401] * 4 + [429] * 2
    assert [left(answer) for answer in answers] == [("auth", count) for count in (3, 2, 1, 0, 0, 0)]
    assert len(checked) == 4
    right = {"email": ada.email, "password": PASSWORD}
    assert (await limited.post("/api/v1/auth/login", right, headers=at("203.0.113.99"))).status == 429
    assert (await sign_in(limited, f"{uuid4().hex}@example.com", "203.0.113.99")).status == 401


async def test_an_unknown_email_is_limited_like_a_known_one(limited: Api) -> None:
    email = f"{uuid4().hex}@example.com"
    statuses = [(await sign_in(limited, email, f"203.0.113.{number}")).status for number in range(5)]
    assert statuses == [401] * 4 + [429]


async def test_registrations_are_limited_before_their_hash(limited: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = count_hashes(monkeypatch, "hash")
    for number, path in enumerate(["/api/v1/auth/register", "/api/auth/register", "/api/auth/signup"] * 2):
        body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
        answer = await limited.post(path, body, headers=at("198.51.100.8"))
        assert (answer.status, left(answer)) == ((201, ("auth", 3 - number)) if number < 4 else (429, ("auth", 0)))
    assert len(checked) == 4


async def test_refreshes_are_limited(limited: Api, ada: User) -> None:
    token = ada.refresh_token
    for _ in range(4):
        answer = await limited.post("/api/v1/auth/refresh", {"refresh_token": token}, headers=at("198.51.100.9"))
        assert answer.status == 200
        token = answer.body["refresh_token"]
    for path in ("/api/v1/auth/refresh", "/api/auth/refresh"):
        assert (await limited.post(path, {"refresh_token": token}, headers=at("198.51.100.9"))).status == 429
    assert (
        await limited.post("/api/auth/refresh", {"refresh_token": token}, headers=at("198.51.100.10"))
    ).status == 200


async def test_passwords_asked_for_again_are_limited(limited: Api, ada: User) -> None:
    body = {"current_password": "wrong horse 9", "new_password": "another horse 10"}
    statuses = [(await limited.post("/api/v1/auth/password", body, as_=ada)).status for _ in range(5)]
    assert statuses == [401] * 4 + [429]
    assert (await limited.delete("/api/v1/auth/me", as_=ada, body={"password": PASSWORD})).status == 429


async def test_fifty_at_once_are_admitted_exactly(limited: Api, ada: User) -> None:
    answers = await asyncio.gather(*(limited.get("/api/v1/auth/me", as_=ada) for _ in range(50)))
    assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 45
    assert sorted(left(answer)[1] for answer in answers)[-5:] == [0, 1, 2, 3, 4]


async def test_switched_off_nothing_is_counted(api: Api, ada: User) -> None:
    for _ in range(35):
        answer = await api.post("/api/v1/tasks", {"title": ""}, as_=ada)
        assert answer.status == 422
        assert not set(NAMES) & set(answer.headers)


def count_hashes(monkeypatch: pytest.MonkeyPatch, name: str = "check") -> list[object]:
    calls: list[object] = []
    original = getattr(PasswordHasher, name)

    async def counted(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        return await original(*arguments, **options)

    monkeypatch.setattr(PasswordHasher, name, counted)
    return calls


async def test_registrations_with_an_email_do_not_keep_its_owner_out(limited: Api) -> None:
    email, password = f"{uuid4().hex}@example.com", PASSWORD
    own = {"email": email, "password": password}
    assert (await limited.post("/api/v1/auth/register", own, headers=at("192.0.2.1"))).status == 201
    for host in range(10):
        await limited.post("/api/v1/auth/register", own, headers=at(f"198.51.100.{host}"))
    refused = await limited.post("/api/v1/auth/register", own, headers=at("198.51.100.99"))
    assert refused.status == 429, "they are counted all the same"
    assert (await limited.post("/api/v1/auth/login", own, headers=at("192.0.2.1"))).status == 200
