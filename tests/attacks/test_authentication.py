"""A1 to A21: credentials, passwords, and what the answers reveal about accounts."""

import asyncio
import json
import statistics
import time
from uuid import uuid4

import pytest

from tests.attacks.raw import ask, exchange, post, request
from tests.client import PASSWORD, Api, User
from tests.conftest import make_settings, running_service
from tests.routes.test_sessions import refresh, until_refused
from tests.routes.test_table import concrete
from tests.rows import private_rows

LOGIN, REGISTER = "/api/v1/auth/login", "/api/v1/auth/register"
BEARER = 'Bearer realm="todo-service"'


def email() -> str:
    return f"{uuid4().hex}@example.com"


async def test_a1_no_credential(service: Api, eve: User) -> None:
    for row in private_rows():
        reply = await ask(service, row.method, concrete(row, eve))
        assert (reply.status, reply.problem(), reply.one("www-authenticate")) == (401, "unauthenticated", BEARER)


async def test_a2_an_invalid_token(service: Api) -> None:
    bodies = set()
    for token in ("x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "x" * 5000):
        reply = await ask(service, "GET", "/api/v1/tasks", [("Authorization", f"Bearer {token}")])
        assert (reply.status, reply.one("www-authenticate")) == (401, f'{BEARER}, error="invalid_token"')
        bodies.add(tuple(sorted(reply.json.keys() - {"request_id", "detail"})))
    assert len(bodies) == 1


async def test_a3_not_allowed(service: Api, eve: User) -> None:
    for path in ("/api/v1/users", "/api/v1/audit"):
        reply = await ask(service, "GET", path, as_=eve)
        assert reply.status == 403
        assert reply.one("www-authenticate").endswith('error="insufficient_scope"')


async def test_a4_schemes(service: Api, eve: User) -> None:
    for scheme in ("bearer", "BEARER", "BeArEr"):
        assert (await ask(service, "GET", "/api/v1/tasks", [("Authorization", f"{scheme} {eve.token}")])).status == 200
    for value in ("Basic eDp4", "Bearer", "Bearer  ", "Bearer a b", f"Token {eve.token}", eve.token, "", ",", "\t"):
        reply = await ask(service, "GET", "/api/v1/tasks", [("Authorization", value)])
        assert (reply.status, reply.problem()) == (401, "unauthenticated"), value


async def test_a5_two_authorization_headers(service: Api, eve: User) -> None:
    good, bad = ("Authorization", f"Bearer {eve.token}"), ("Authorization", "Bearer x")
    for pair in ([good, bad], [bad, good], [good, good]):
        assert (await ask(service, "GET", "/api/v1/tasks", pair)).status == 401


async def test_a6_a_token_elsewhere(service: Api, eve: User, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    for query in ("access_token", "token", "jwt", "ticket", "api_key"):
        assert (await ask(service, "GET", f"/api/v1/tasks?{query}={eve.token}")).status == 401
    assert (await ask(service, "GET", "/api/v1/tasks", [("Cookie", f"token={eve.token}")])).status == 401
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    assert (await ask(service, "POST", "/api/v1/tasks", form, f"access_token={eve.token}".encode())).status == 401
    assert eve.token not in capfd.readouterr().out


async def test_a7_raw_bytes_in_authorization(service: Api) -> None:
    for value in (
        b"Bearer \xff\xfe",
        b"Bearer \xc3\xa9.\xc3\xa9.\xc3\xa9",
        b"\xff" * 100,
        b"Bearer a.\xf0\x9f\x98\x80.c",
    ):
        assert (await ask(service, "GET", "/api/v1/tasks", [("Authorization", value)])).status == 401


PASSWORDS = {
    "short": ("aB3$xyz", 422), "8": ("zqxjkvbp", 201), "64": ("zq" * 32, 201), "200": ("zqxj" * 50, 201),
    "1025": ("z" * 1025, 422), "spaces": ("  two  spaces around  ", 201), "emoji": ("\U0001f600" * 8, 201),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSWORDS)
async def test_a8_lengths_and_exact_bytes(service: Api, name: str) -> None:
    password, status = PASSWORDS[name]
    account = {"email": email(), "password": password}
    assert (await post(service, REGISTER, account)).status == status
    if status == 201:
        assert (await post(service, LOGIN, account)).status == 200
        for other in (password.strip() + "x", password.upper() + "y", password[:-1], password + " "):
            assert (await post(service, LOGIN, account | {"password": other})).status == 401, other


async def test_a9_72_bytes_and_more(service: Api) -> None:
    for size in (72, 73, 300):
        account = {"email": email(), "password": ("é" * 150)[: size // 2] + "x" * (size % 2)}
        assert (await post(service, REGISTER, account)).status == 201
        assert (await post(service, LOGIN, account)).status == 200
        for other in (account["password"] + "y", ("é" * 150)[:36] if size > 72 else "é" * 35):
            assert (await post(service, LOGIN, account | {"password": other})).status == 401


async def test_a10_no_rules_of_composition(service: Api) -> None:
    for password in ("qzxvkjwp", "correcthorsebatterystaple", "93751048275"):
        assert (await post(service, REGISTER, {"email": email(), "password": password})).status == 201


async def test_a11_common_passwords_and_the_email(service: Api) -> None:
    address = f"margaret{uuid4().hex[:6]}@example.com"
    for password in ("password1", "12345678", "qwertyuiop", "iloveyou", address, address.split("@")[0]):
        reply = await post(service, REGISTER, {"email": address, "password": password})
        assert reply.status == 422, password
        assert reply.json["errors"][0]["field"] == "password"


async def test_a12_nul_in_a_password(service: Api) -> None:
    account = {"email": email(), "password": "abcdefgh\0cd"}
    assert (await post(service, REGISTER, account)).status == 201
    assert (await post(service, LOGIN, account)).status == 200
    assert (await post(service, LOGIN, account | {"password": "abcdefgh"})).status == 401


async def test_a13_changing_the_password(service: Api, eve: User) -> None:
    elsewhere = (await post(service, LOGIN, {"email": eve.email, "password": PASSWORD})).json["refresh_token"]
    change = {"current_password": "wrong horse 9", "new_password": "better horse 10"}
    assert (await post(service, "/api/v1/auth/password", change, as_=eve)).status == 401
    change["current_password"] = PASSWORD
    assert (await post(service, "/api/v1/auth/password", change | {"new_password": "password1"}, as_=eve)).status == 422
    assert (await post(service, "/api/v1/auth/password", change, as_=eve)).status == 204
    assert (await refresh(service, elsewhere)).status == 401
    await until_refused(service, eve.token)


async def test_a14_the_same_answer_for_unknown_and_wrong(service: Api, victim: User, root: User) -> None:
    disabled = await service.new_user()
    await service.patch(f"/api/v1/users/{disabled.id}", {"is_active": False}, as_=root)
    seen = set()
    for address in (email(), victim.email, disabled.email):
        reply = await post(service, LOGIN, {"email": address, "password": "wrong horse 9"})
        document = reply.json
        document.pop("request_id")
        names = tuple(name for name, value in reply.headers if name not in {"date"})
        seen.add((reply.status, json.dumps(document), names, reply.one("content-length")))
    assert len(seen) == 1
    assert next(iter(seen))[0] == 401


async def test_a15_the_same_time(database_url: str) -> None:
    """Medians of interleaved sign-ins, with the hashes of production."""
    async with running_service(make_settings(database_url, bcrypt_rounds=10)) as api:
        known = (await api.new_user()).email
        seconds: dict[str, list[float]] = {"known": [], "unknown": []}
        for _ in range(20):
            for kind, address in (("known", known), ("unknown", email())):
                began = time.perf_counter()
                assert (await post(api, LOGIN, {"email": address, "password": "wrong horse 9"})).status == 401
                seconds[kind].append(time.perf_counter() - began)
    known_median, unknown_median = (statistics.median(seconds[kind]) for kind in ("known", "unknown"))
    assert abs(known_median - unknown_median) < max(0.01, 0.2 * known_median)


async def test_a16_one_account_for_all_spellings(service: Api) -> None:
    local = uuid4().hex
    assert (await post(service, REGISTER, {"email": f"{local}@EXAMPLE.com", "password": PASSWORD})).status == 201
    for spelling in (f"{local.upper()}@example.com", f"{local}@example.COM", f" {local}@example.com "):
        assert (await post(service, REGISTER, {"email": spelling, "password": PASSWORD})).status == 400, spelling
    accent = uuid4().hex
    first = await post(service, REGISTER, {"email": f"é{accent}@example.com", "password": PASSWORD})
    second = await post(service, REGISTER, {"email": f"e\u0301{accent}@example.com", "password": PASSWORD})
    assert (first.status, second.status) == (201, 400)
    for other in (f"Name <{local}@example.com>", f"{'x' * 65}@example.com", "a@b", f"{local}@example.com\0"):
        assert (await post(service, REGISTER, {"email": other, "password": PASSWORD})).status == 422, other


async def test_a17_no_default_accounts(service: Api) -> None:
    for name, password in (("admin", "admin"), ("root", "root"), ("test", "test"), ("admin@example.com", "admin1234")):
        assert (await post(service, LOGIN, {"email": name, "password": password})).status in {401, 422}


async def test_a18_to_a20_brute_force_spraying_and_a_malicious_lockout(database_url: str) -> None:
    limits = {"rate_limit_enabled": True, "rate_limit_auth": 5, "trusted_proxies": "127.0.0.1"}
    async with running_service(make_settings(database_url, **limits)) as api:
        victim = email()
        own = {"email": victim, "password": PASSWORD}
        assert (await post(api, REGISTER, own, [("X-Forwarded-For", "192.0.2.9")])).status == 201
        attacker = [("X-Forwarded-For", "198.51.100.1")]
        wrong = own | {"password": "wrong horse 9"}
        statuses = [(await post(api, LOGIN, wrong, attacker)).status for _ in range(7)]
        assert statuses == [401] * 5 + [429] * 2
        blocked = await post(api, LOGIN, own, attacker)
        assert (blocked.status, int(blocked.one("retry-after")) >= 1) == (429, True), "a right one neither"
        spray = [
            (
                await post(api, LOGIN, {"email": email(), "password": PASSWORD}, [("X-Forwarded-For", "198.51.100.2")])
            ).status
            for _ in range(7)
        ]
        assert spray == [401] * 5 + [429] * 2, "one password, many accounts"
        other = await post(api, LOGIN, {"email": email(), "password": PASSWORD}, [("X-Forwarded-For", "192.0.2.9")])
        assert other.status == 401, "another address and account are not affected"
    async with running_service(make_settings(database_url, **limits | {"trusted_proxies": ""})) as bare:
        statuses = [
            (await post(bare, LOGIN, wrong | {"email": email()}, [("X-Forwarded-For", f"203.0.113.{n}")])).status
            for n in range(7)
        ]
        assert statuses == [401] * 5 + [429] * 2, "nobody believes a header of a stranger"


async def test_a21_large_passwords_cost_no_hash(service: Api) -> None:
    body = json.dumps({"email": email(), "password": "x" * 60_000}).encode()
    began = time.monotonic()
    data = request("POST", REGISTER, [("Content-Type", "application/json")], body)
    replies = await asyncio.gather(*(exchange(service, data) for _ in range(50)))
    assert {reply[0].status for reply in replies} == {422}
    assert time.monotonic() - began < 5
    assert (await ask(service, "GET", "/health/live")).status == 200
