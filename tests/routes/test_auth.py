"""Accounts made here: registering, signing in, and what neither gives away."""

import asyncio
import statistics
import time
from typing import Any
from uuid import uuid4

import asyncpg
import bcrypt
import pytest

from tests.client import PASSWORD, Api, User
from tests.conftest import make_settings, run_sql, running_service
from todo_service.auth.passwords import available_cores

REGISTER = ["/api/v1/auth/register", "/api/auth/register", "/api/auth/signup"]
SIGN_IN = ["/api/v1/auth/login", "/api/auth/login", "/api/auth/signin"]


def fresh_email() -> str:
    return f"{uuid4().hex}@example.com"


@pytest.mark.parametrize("path", REGISTER)
async def test_one_email_registered_by_20_at_once_gives_one_201(api: Api, path: str) -> None:
    body = {"email": fresh_email(), "password": PASSWORD}
    answers = await asyncio.gather(*(api.post(path, body) for _ in range(20)))
    refused = [answer for answer in answers if answer.status != 201]
    assert [(answer.status, answer.problem()) for answer in refused] == [(400, "email-already-registered")] * 19
    assert refused[0].body["detail"] == "Email already registered"


async def test_domains_that_differ_are_different_accounts(api: Api) -> None:
    tag = uuid4().hex
    for domain in ("strasse.de", "stra\u00dfe.de"):
        assert (await api.post(REGISTER[0], {"email": f"{tag}@{domain}", "password": PASSWORD})).status == 201
    again = await api.post(REGISTER[0], {"email": f"{tag}@xn--strae-oqa.de", "password": PASSWORD})
    assert again.status == 400, "the same domain in its other spelling"


async def test_emails_are_one_whatever_their_case_width_and_composition(api: Api) -> None:
    tag = uuid4().hex
    spellings = [f"Ren\u00e9{tag}@example.com", f"rene\u0301{tag}@EXAMPLE.com", f"REN\u00c9{tag}@example.com"]
    spellings.append(f"\uff52en\u00e9{tag}@example.com")
    statuses = [(await api.post(REGISTER[0], {"email": e, "password": PASSWORD})).status for e in spellings]
    assert statuses == [201, 400, 400, 400]
    for email in spellings:
        assert (await api.post(SIGN_IN[0], {"email": email, "password": PASSWORD})).status == 200


@pytest.mark.parametrize(
    "email",
    ["", "ada", "ada@", "@example.com", "ada@example", "a b@example.com", "Ada <ada@example.com>", "ada@exa mple.com",
     "ada@example.com\0", "ada\0@example.com", "a" * 65 + "@example.com", "ada@" + "x" * 250 + ".com",
     "ada@@example.com", 5, None, ["ada@example.com"], "\ud800@example.com",
     "ada@example.com\r\nBcc: x@example.com", "ada@localhost"],
)  # fmt: skip
async def test_wrong_emails_are_refused(api: Api, email: Any) -> None:
    answer = await api.post(REGISTER[0], {"email": email, "password": PASSWORD})
    assert answer.status == 422
    assert set(answer.failing()) == {"email"}
    assert PASSWORD not in answer.raw.decode()


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("seven77", "password_too_short"),
        ("", "password_too_short"),
        ("x1" * 513, "password_too_long"),
        ("é" * 513, "password_too_long"),
        ("password1", "password_common"),
        ("12345678", "password_common"),
        ("QWERTYUIOP", "password_common"),
        ("ada.lovelace@example.com", "password_is_email"),
        ("Ada.Lovelace", "password_is_email"),
        (12345678, "string_type"),
        (None, "string_type"),
        ("\ud800abcdefgh", "string_unicode"),
    ],
)
async def test_weak_passwords_are_refused_with_a_reason(api: Api, password: Any, code: str) -> None:
    answer = await api.post(REGISTER[0], {"email": "ada.lovelace@example.com", "password": password})
    assert (answer.status, answer.failing()) == (422, {"password": code})
    if isinstance(password, str) and len(password) > 8:
        assert password not in answer.raw.decode(errors="replace")


@pytest.mark.parametrize(
    "password",
    ["eight 88", "zzzzzzzzzzzy", "  spaces at both ends  ", "🔑🔑🔑🔑🔑🔑🔑🔑", "nul\0inside", "x" * 72 + "y", "é" * 37,
     "a" * 300, "ß" * 512, "UPPER lower", "tab\tand\nnewline"],
)  # fmt: skip
async def test_a_password_is_kept_exactly_as_it_is(api: Api, password: str) -> None:
    email = fresh_email()
    assert (await api.post(REGISTER[0], {"email": email, "password": password})).status == 201
    assert (await api.post(SIGN_IN[0], {"email": email, "password": password})).status == 200
    for near in (password + " ", password[:-1], password.strip(), password.swapcase(), password.partition("\0")[0]):
        if near != password:
            answer = await api.post(SIGN_IN[0], {"email": email, "password": near})
            assert (answer.status, answer.problem()) == (401, "wrong-email-or-password"), near


async def test_several_failing_fields_are_named_at_once(api: Api) -> None:
    answer = await api.post(REGISTER[0], {"email": "x", "password": "short", "full_name": "n" * 256})
    assert answer.failing() == {"email": "email", "password": "password_too_short", "full_name": "string_too_long"}


async def test_a_registration_is_never_more_than_a_user(api: Api) -> None:
    forged = {"role": "admin", "is_active": False, "id": "me", "generation": 9, "fullName": " Ada ", "isAdmin": True}
    answer = await api.post(REGISTER[0], {"email": fresh_email(), "password": PASSWORD, **forged})
    assert (answer.body["role"], answer.body["is_active"]) == ("user", True)
    assert answer.body["full_name"] == "Ada"
    assert set(answer.body) == {
        "id",
        "email",
        "email_verified",
        "full_name",
        "role",
        "is_active",
        "created_at",
        "updated_at",
    }


@pytest.mark.parametrize("path", SIGN_IN)
async def test_unknown_email_and_wrong_password_look_alike(api: Api, ada: User, path: str) -> None:
    answers = [
        await api.post(path, {"email": ada.email, "password": "wrong horse 9"}),
        await api.post(path, {"email": fresh_email(), "password": PASSWORD}),
        await api.post(path, {"email": "not an email", "password": PASSWORD}),
        await api.post(path, {"email": "x" * 60_000, "password": ""}),
    ]
    assert {answer.status for answer in answers} == {401}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {
        'Bearer realm="todo-service", error="invalid_token"'
    }
    assert len({(a.body["type"], a.body["detail"], a.body["title"]) for a in answers}) == 1


async def test_all_failing_sign_ins_take_the_same_time(database_url: str) -> None:
    """An unknown email, a wrong password, one of an inactive account, one of an account whose hash is old and cheap."""
    async with running_service(make_settings(database_url, bcrypt_rounds=9)) as api:
        known, inactive, old = [(await api.new_user()) for _ in range(3)]
        cheap = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
        await run_sql(database_url, f"UPDATE users SET is_active = false WHERE id = '{inactive.id}'")
        await run_sql(database_url, f"UPDATE users SET password_hash = '{cheap}' WHERE id = '{old.id}'")

        async def seconds(email: str) -> float:
            started = time.perf_counter()
            assert (await api.post(SIGN_IN[0], {"email": email, "password": "wrong horse 9"})).status == 401
            return time.perf_counter() - started

        emails = [known.email, inactive.email, old.email, "nobody@example.com"]
        rounds = [[await seconds(email) for email in emails] for _ in range(15)]
        medians = [statistics.median(times) for times in zip(*rounds, strict=True)]
        assert max(medians) < 2 * min(medians), "without the compensation it is 10 times"


async def test_sign_in_needs_two_strings_without_nul(api: Api) -> None:
    answer = await api.post(SIGN_IN[0], {"email": "a\0b", "password": 5})
    assert answer.failing() == {"email": "nul_character", "password": "string_type"}


async def test_an_inactive_account_is_told_so_only_with_its_password(api: Api, ada: User, database_url: str) -> None:
    await run_sql(database_url, f"UPDATE users SET is_active = false WHERE id = '{ada.id}'")
    right = await api.post(SIGN_IN[0], {"email": ada.email, "password": PASSWORD})
    assert (right.status, right.problem()) == (403, "account-inactive")
    wrong = await api.post(SIGN_IN[0], {"email": ada.email, "password": "wrong horse 9"})
    assert (wrong.status, wrong.problem()) == (401, "wrong-email-or-password")


async def test_a_hash_of_fewer_rounds_is_renewed_at_sign_in(database_url: str) -> None:
    async with running_service(make_settings(database_url, bcrypt_rounds=5)) as api:
        ada = await api.new_user()
        weak = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        await run_sql(database_url, f"UPDATE users SET password_hash = '{weak}' WHERE id = '{ada.id}'")
        assert (await api.post(SIGN_IN[0], {"email": ada.email, "password": PASSWORD})).status == 200
        stored = await stored_hash(database_url, ada)
        assert stored.startswith("$2b$05$")
        assert (await api.post(SIGN_IN[0], {"email": ada.email, "password": PASSWORD})).status == 200
        assert await stored_hash(database_url, ada) == stored


@pytest.mark.parametrize("broken", ["", "$2b$04$short", "plain", "$2b$99$" + "x" * 53, "é"])
async def test_a_broken_stored_hash_is_a_wrong_password(api: Api, ada: User, database_url: str, broken: str) -> None:
    await run_sql(database_url, f"UPDATE users SET password_hash = '{broken}' WHERE id = '{ada.id}'")
    answer = await api.post(SIGN_IN[0], {"email": ada.email, "password": PASSWORD})
    assert (answer.status, answer.problem()) == (401, "wrong-email-or-password")


async def test_an_account_that_is_gone(api: Api, ada: User, database_url: str) -> None:
    await run_sql(database_url, f"DELETE FROM users WHERE id = '{ada.id}'")
    for path in ("/api/v1/auth/me", "/api/auth/me", "/api/auth/verify"):
        assert (await api.get(path, as_=ada)).problem() == "unauthenticated"
    assert (await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)).problem() == "unauthenticated"
    assert (await api.get("/api/v1/tasks", as_=ada)).body["total"] == 0


async def test_a_public_route_does_not_look_at_a_credential(api: Api, ada: User) -> None:
    body = {"email": ada.email, "password": PASSWORD}
    answer = await api.post(SIGN_IN[0], body, headers={"Authorization": "Bearer expired.or.wrong"})
    assert answer.status == 200


async def test_a_flood_of_sign_ins_is_503_and_stalls_no_task(database_url: str) -> None:
    async with running_service(make_settings(database_url, bcrypt_rounds=11)) as api:
        ada = await api.new_user()
        body = {"email": ada.email, "password": "wrong horse 9"}
        flood = [asyncio.ensure_future(api.post(SIGN_IN[0], body)) for _ in range(40 * available_cores())]
        await asyncio.sleep(0.1)
        slowest = 0.0
        for _ in range(20):
            started = time.perf_counter()
            assert (await api.get("/api/v1/tasks", as_=ada)).status == 200
            slowest = max(slowest, time.perf_counter() - started)
        answers = await asyncio.gather(*flood)
        refused = [answer for answer in answers if answer.status == 503]
        assert {answer.status for answer in answers} == {401, 503}
        assert {answer.problem() for answer in refused} == {"overloaded"}
        assert {answer.headers["Retry-After"] for answer in refused} == {"2"}
        assert slowest < 1


async def stored_hash(database_url: str, user: User) -> str:
    db = await asyncpg.connect(database_url)
    stored: str = await db.fetchval("SELECT password_hash FROM users WHERE id = $1", user.id)
    await db.close()
    return stored


async def test_white_space_around_an_email_is_no_part_of_it(api: Api) -> None:
    email = fresh_email()
    registered = await api.post(REGISTER[0], {"email": f" {email}\t", "password": PASSWORD})
    assert (registered.status, registered.body["email"]) == (201, email)
    assert (await api.post(SIGN_IN[0], {"email": f"\u00a0{email} \n", "password": PASSWORD})).status == 200


async def test_reserved_domains_are_taken_if_the_operator_says_so(api: Api, database_url: str) -> None:
    emails = [f"ada-{uuid4().hex}@{domain}" for domain in ("nas.local", "localhost", "x.test", "box.home.arpa")]
    for email in emails:
        refused = await api.post(REGISTER[0], {"email": email, "password": PASSWORD})
        assert (refused.status, refused.failing()) == (422, {"email": "email_reserved_domain"})
        assert "ALLOW_RESERVED_EMAIL_DOMAINS" in refused.body["detail"]
    async with running_service(make_settings(database_url, allow_reserved_email_domains=True)) as open_to_all:
        for email in emails:
            registered = await open_to_all.post(REGISTER[0], {"email": email, "password": PASSWORD})
            assert (registered.status, registered.body["email"]) == (201, email)
        wrong = await open_to_all.post(REGISTER[0], {"email": "a..b@nas.local", "password": PASSWORD})
        assert wrong.failing() == {"email": "email"}
    for email in emails:
        assert (await api.post(SIGN_IN[0], {"email": email.upper(), "password": PASSWORD})).status == 200
