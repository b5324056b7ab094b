"""C1 to C5: pages of other origins."""

import pytest

from tests.attacks.conftest import PAGE
from tests.attacks.raw import ask
from tests.client import Api, User
from tests.conftest import make_settings, running_service

TASKS = "/api/v1/tasks"
EVIL = (
    "https://evil.example", "null", "https://app.example.evil.com", "HTTPS://APP.EXAMPLE.COM", f"{PAGE}:8443",
    "http://app.example.com", f"{PAGE}.evil", f"https://evil/{PAGE}", "", "https://app.example.com@evil",
)  # fmt: skip


def preflight(origin: str, method: str = "PATCH") -> list[tuple[str, str | bytes]]:
    return [
        ("Origin", origin), ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "authorization,content-type,if-match,idempotency-key"),
    ]  # fmt: skip


async def test_c1_a_preflight_of_an_allowed_page(service: Api) -> None:
    for path in (TASKS, f"{TASKS}/0190a1b2-0000-7000-8000-000000000000", "/api/v1/auth/login"):
        reply = await ask(
            service, "OPTIONS", path, preflight(PAGE, "POST" if path.endswith(("tasks", "login")) else "PATCH")
        )
        assert reply.status in {200, 204}
        assert reply.one("access-control-allow-origin") == PAGE
        assert "origin" in reply.one("vary").lower()
        assert int(reply.one("access-control-max-age")) > 0


@pytest.mark.parametrize("origin", EVIL)
async def test_c2_other_origins_get_nothing(service: Api, eve: User, origin: str) -> None:
    for reply in (
        await ask(service, "GET", TASKS, [("Origin", origin)], as_=eve),
        await ask(service, "OPTIONS", TASKS, preflight(origin)),
        await ask(service, "GET", "/nope", [("Origin", origin)]),
    ):
        assert not reply.all("access-control-allow-origin")
        assert not reply.all("access-control-allow-credentials")
    twice = await ask(service, "GET", TASKS, [("Origin", PAGE), ("Origin", origin)], as_=eve)
    assert origin not in twice.all("access-control-allow-origin")


def test_c3_a_star_is_refused_at_the_start(database_url: str) -> None:
    with pytest.raises(ValueError, match="cors_origins"):
        make_settings(database_url, cors_origins="*", environment="production", bcrypt_rounds=12)


async def test_c4_errors_have_the_headers_too(service: Api, eve: User) -> None:
    origin = ("Origin", PAGE)
    for reply, status in (
        (await ask(service, "GET", TASKS, [origin]), 401),
        (await ask(service, "GET", "/api/v1/users", [origin], as_=eve), 403),
        (await ask(service, "GET", "/nope", [origin]), 404),
        (await ask(service, "TRACE", TASKS, [origin], as_=eve), 405),
        (await ask(service, "POST", TASKS, [origin], b" " * 70_000, as_=eve), 413),
        (await ask(service, "POST", TASKS, [origin, ("Content-Type", "x/y")], b"x", as_=eve), 415),
        (await ask(service, "POST", TASKS, [origin], b"{}", as_=eve), 422),
    ):
        assert (reply.status, reply.one("access-control-allow-origin")) == (status, PAGE)
        assert "origin" in ",".join(reply.all("vary")).lower()
        exposed = reply.one("access-control-expose-headers").lower()
        assert {"etag", "retry-after", "x-request-id", "ratelimit"} <= set(exposed.replace(" ", "").split(","))


async def test_c5_without_an_origin(service: Api, database_url: str) -> None:
    reply = await ask(service, "GET", "/health")
    assert not reply.all("access-control-allow-origin")
    assert "origin" in ",".join(reply.all("vary")).lower()
    async with running_service(make_settings(database_url)) as closed:
        assert not (await ask(closed, "GET", TASKS, [("Origin", PAGE)])).all("access-control-allow-origin")
