"""Forgotten passwords and email addresses, through a real mail server."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.client import PASSWORD, Answer, Api, User
from tests.commands.test_users import run
from tests.conftest import make_settings, run_sql, running_service
from tests.mailbox import Mailbox, html_of, mail_server, text_of, token_of
from tests.routes.test_personal_tokens import make
from tests.routes.test_sessions import only_administrators, rows, sign_in, until_refused
from todo_service.config.settings import Settings
from todo_service.queries import users

FORGOT, RESET = "/api/v1/auth/password/forgot", "/api/v1/auth/password/reset"
EMAIL, VERIFY = "/api/v1/auth/email", "/api/v1/auth/email/verify"
NEW = "another horse 10"
URLS = {
    "password_reset_url": "https://app.example.com/reset?token={token}",
    "email_verify_url": "https://app.example.com/verify?token={token}",
    "mail_from": "Todo <no-reply@example.com>",
    "app_name": "Ada & Co",
}


class Service(NamedTuple):
    """The service, and the mail server that it uses."""

    api: Api
    box: Mailbox
    settings: Settings


@pytest_asyncio.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    async with mail_server() as box:
        settings = make_settings(database_url, smtp_url=f"smtp://127.0.0.1:{box.port}", **URLS)
        async with running_service(settings) as api:
            yield Service(api, box, settings)


async def forgot(service: Service, email: str) -> Answer:
    answer = await service.api.post(FORGOT, {"email": email})
    assert answer.status == 202, answer.raw
    return answer


async def reset_token(service: Service, user: User) -> str:
    """The token of a new link for a new password."""
    before = sum("reset?" in text_of(one) for one in service.box.messages if user.email in str(one["To"]))
    others = sum("reset?" not in text_of(one) for one in service.box.messages if user.email in str(one["To"]))
    await forgot(service, user.email)
    return token_of(await service.box.next_to(user.email, after=before + others))


async def newcomer(service: Service) -> User:
    """A user, whose verification message has arrived."""
    user = await service.api.new_user()
    await service.box.next_to(user.email)
    return user


async def can_sign_in(api: Api, email: str, password: str) -> bool:
    answer = await api.post("/api/v1/auth/login", {"email": email, "password": password})
    assert answer.status in {200, 401}, answer.raw
    return answer.status == 200


async def test_a_forgotten_password_is_replaced_by_a_link(service: Service, database_url: str) -> None:
    api, box, _ = service
    ada = await newcomer(service)
    personal = await make(api, ada)
    assert (await api.get("/api/v1/tasks", token=personal)).status == 200
    await forgot(service, f" {ada.email.upper()} ")
    message = await box.next_to(ada.email, after=1)
    assert (message["From"], message["Subject"]) == ("Todo <no-reply@example.com>", "Ada & Co: choose a new password")
    token = token_of(message)
    assert f"https://app.example.com/reset?token={token}" in text_of(message)
    assert "30 minutes" in text_of(message)
    assert "Ada &amp; Co" in html_of(message)
    assert (await api.post(RESET, {"token": token, "new_password": NEW})).status == 204
    assert not await can_sign_in(api, ada.email, PASSWORD)
    assert await can_sign_in(api, ada.email, NEW)
    await until_refused(api, ada.token)
    await until_refused(api, personal)
    assert (await api.post("/api/v1/auth/refresh", {"refresh_token": ada.refresh_token})).status == 401
    again = await api.post(RESET, {"token": token, "new_password": "a third horse 11"})
    assert (again.status, again.problem()) == (400, "invalid-one-time-token")
    fresh = await sign_in(api, ada, NEW)
    assert fresh["user"]["email_verified"] is True
    stored = await rows(database_url, "SELECT action FROM audit_log WHERE subject_id = $1 ORDER BY id", ada.id)
    actions = [row["action"] for row in stored]
    assert actions.index("password_reset_requested") < actions.index("password_reset")


async def test_the_answer_is_the_same_before_anyone_is_looked_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it takes the same time too: at the moment of the answer nothing has been read."""
    ada = await newcomer(service)
    held, select = asyncio.Event(), users.select_by_email_key

    async def wait(*arguments: Any, **named: Any) -> Any:
        await held.wait()
        return await select(*arguments, **named)

    monkeypatch.setattr(users, "select_by_email_key", wait)
    known, unknown, malformed = [
        await forgot(service, email) for email in (ada.email, f"{uuid4().hex}@example.com", "no address")
    ]
    assert known.body == unknown.body == malformed.body
    assert {*known.headers} == {*unknown.headers} == {*malformed.headers}
    held.set()
    bob = await newcomer(service)
    await reset_token(service, bob)  # comes after the others
    assert {str(one["To"]) for one in service.box.messages} == {ada.email, bob.email}
    assert len(service.box.messages) == 4


async def test_an_inactive_account_gets_no_link(service: Service, database_url: str) -> None:
    ada, bob = await newcomer(service), await newcomer(service)
    token = await reset_token(service, ada)
    await run_sql(database_url, f"UPDATE users SET is_active = false WHERE id = '{ada.id}'")
    await forgot(service, ada.email)
    await reset_token(service, bob)
    assert sum(ada.email in str(one["To"]) for one in service.box.messages) == 2
    refused = await service.api.post(RESET, {"token": token, "new_password": NEW})
    assert (refused.status, refused.problem()) == (400, "invalid-one-time-token")


async def test_of_twenty_uses_of_a_link_one_wins(service: Service, database_url: str) -> None:
    ada = await newcomer(service)
    token = await reset_token(service, ada)
    async with running_service(service.settings) as second:
        answers = await asyncio.gather(
            *(
                (service.api, second)[number % 2].post(
                    RESET, {"token": token, "new_password": f"horse number {number}"}
                )
                for number in range(20)
            )
        )
    statuses = [answer.status for answer in answers]
    assert sorted(statuses) == [204] + [400] * 19
    assert {answer.problem() for answer in answers if answer.status == 400} == {"invalid-one-time-token"}
    assert await can_sign_in(service.api, ada.email, f"horse number {statuses.index(204)}")


@pytest.mark.parametrize("change", ["password", "email", "there and back", "operator", "older release", "time"])
async def test_a_link_is_void_after(service: Service, database_url: str, tmp_path: Path, change: str) -> None:
    api, box, _ = service
    ada = await newcomer(service)
    token = await reset_token(service, ada)
    match change:
        case "password":
            other = await reset_token(service, ada)
            assert (await api.post(RESET, {"token": other, "new_password": NEW})).status == 204
        case "email":
            address = f"{uuid4().hex}@example.com"
            await api.post(EMAIL, {"new_email": address, "password": PASSWORD}, as_=ada)
            assert (await api.post(VERIFY, {"token": token_of(await box.next_to(address))})).status == 204
        case "operator":
            (tmp_path / "new").write_text(NEW)
            done = await run(
                "users", "set-password", ada.email, "--password-file", str(tmp_path / "new"), DATABASE_URL=database_url
            )
            assert done.returncode == 0
        case "there and back":
            for address, password in ((f"{uuid4().hex}@example.com", PASSWORD), (ada.email, PASSWORD)):
                before = sum(address in str(one["To"]) for one in box.messages)
                await api.post(EMAIL, {"new_email": address, "password": password}, as_=ada)
                link = token_of(await box.next_to(address, after=before))
                assert (await api.post(VERIFY, {"token": link})).status == 204
        case "older release":
            digest = await rows(database_url, "SELECT password_hash FROM users WHERE id = $1", ada.id)
            changed = digest[0][0][:-1] + ("a" if digest[0][0][-1] != "a" else "b")
            await run_sql(database_url, f"UPDATE users SET password_hash = '{changed}' WHERE id = '{ada.id}'")
        case "time":
            await run_sql(database_url, f"UPDATE one_time_tokens SET expires_at = now() WHERE user_id = '{ada.id}'")
    refused = await api.post(RESET, {"token": token, "new_password": "a third horse 11"})
    assert (refused.status, refused.problem()) == (400, "invalid-one-time-token")


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "A" * 5000, "\u00e9" * 43, "A" * 42 + "="])
async def test_every_wrong_token_has_one_answer(service: Service, token: str) -> None:
    bodies = []
    for path, more in ((RESET, {"new_password": NEW}), (VERIFY, {})):
        answer = await service.api.post(path, {"token": token, **more})
        assert (answer.status, answer.problem()) == (400, "invalid-one-time-token")
        bodies.append(answer.body["detail"])
    assert len({*bodies}) == 1


async def test_a_link_is_for_its_purpose_alone(service: Service) -> None:
    ada = await service.api.new_user()
    verification = token_of(await service.box.next_to(ada.email))
    refused = await service.api.post(RESET, {"token": verification, "new_password": NEW})
    assert refused.problem() == "invalid-one-time-token"
    reset = await reset_token(service, ada)
    assert (await service.api.post(VERIFY, {"token": reset})).problem() == "invalid-one-time-token"
    assert (await service.api.post(VERIFY, {"token": verification})).status == 204
    assert (await service.api.get("/api/v1/auth/me", as_=ada)).body["email_verified"] is True


async def test_a_weak_new_password_does_not_use_up_the_link(service: Service) -> None:
    ada = await newcomer(service)
    token = await reset_token(service, ada)
    for password, code in (("short", "password_too_short"), (ada.email, "password_is_email")):
        answer = await service.api.post(RESET, {"token": token, "new_password": password})
        assert (answer.status, answer.failing()) == (422, {"new_password": code})
    assert (await service.api.post(RESET, {"token": token, "new_password": NEW})).status == 204


async def test_five_links_are_sent_in_half_an_hour(service: Service, database_url: str) -> None:
    ada, bob, boss = [await newcomer(service) for _ in range(3)]

    async def sent_to_ada() -> int:
        await reset_token(service, bob)  # comes after the others
        await run_sql(database_url, f"DELETE FROM one_time_tokens WHERE user_id = '{bob.id}'")
        return sum(ada.email in str(one["To"]) for one in service.box.messages) - 1

    for _ in range(8):
        await forgot(service, ada.email)
    assert await sent_to_ada() == 5
    withheld = "SELECT FROM audit_log WHERE subject_id = $1 AND action = $2 AND detail LIKE 'withheld%'"
    assert len(await rows(database_url, withheld, ada.id, "password_reset_requested")) == 3
    async with only_administrators(database_url, boss):
        admin = User(boss.id, boss.email, (await sign_in(service.api, boss))["access_token"])
        assert (await service.api.post(f"/api/v1/users/{ada.id}/password-reset", as_=admin)).status == 202
    token = token_of(await service.box.next_to(ada.email, after=6))
    assert (await service.api.post(RESET, {"token": token, "new_password": NEW})).status == 204
    await forgot(service, ada.email)
    assert await sent_to_ada() == 7, "void links do not count"


async def test_confirmations_that_did_not_arrive_lock_out_for_half_an_hour_at_most(
    service: Service, database_url: str
) -> None:
    ada = await newcomer(service)
    body = {"new_email": ada.email, "password": PASSWORD}
    for _ in range(6):
        assert (await service.api.post(EMAIL, body, as_=ada)).status == 202
    later = "UPDATE one_time_tokens SET expires_at = expires_at - interval '31 minutes'"
    await run_sql(database_url, f"{later} WHERE user_id = '{ada.id}'")
    before = len(service.box.messages)
    assert (await service.api.post(EMAIL, body, as_=ada)).status == 202
    async with asyncio.timeout(10):
        while len(service.box.messages) <= before:
            await asyncio.sleep(0.02)
    assert before == 5


async def test_an_address_of_other_letters_gets_its_link(service: Service) -> None:
    email = f"j\u00f6rg.{uuid4().hex}@example.com"
    assert (await service.api.post("/api/v1/auth/register", {"email": email, "password": PASSWORD})).status == 201
    async with asyncio.timeout(10):
        while email not in service.box.recipients:
            await asyncio.sleep(0.02)


async def test_requests_that_wait_at_the_end_are_counted(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("todo_service.auth.reset_requests.CLOSE_SECONDS", 0.2)
    async with running_service(make_settings(database_url)) as api:
        held = asyncio.Event()

        async def wait(*_: Any, **__: Any) -> None:
            await held.wait()

        monkeypatch.setattr(users, "select_by_email_key", wait)
        for _ in range(3):
            assert (await api.post(FORGOT, {"email": "ada@example.com"})).status == 202
    (line,) = [line for line in "".join(capfd.readouterr()).splitlines() if "password_resets_dropped" in line]
    assert "count=3" in line


async def test_a_database_that_is_away_after_a_registration_leaves_the_account(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> str:
        raise OSError

    monkeypatch.setattr("todo_service.auth.recovery.make_token", fail)
    body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
    assert (await service.api.post("/api/v1/auth/register", body)).status == 201
    assert await can_sign_in(service.api, body["email"], PASSWORD)


async def test_nothing_secret_is_stored_or_logged(
    service: Service, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    ada = await newcomer(service)
    token = await reset_token(service, ada)
    stored = await rows(
        database_url, "SELECT row_to_json(t)::text FROM one_time_tokens AS t WHERE user_id = $1", ada.id
    )
    assert token not in str(stored)
    await service.api.post(RESET, {"token": token, "new_password": NEW})
    written = "".join(capfd.readouterr())
    assert token not in written
    assert ada.email not in written
    assert "app.example.com" not in written


# The email address.


async def test_an_address_changes_when_its_link_is_used(service: Service) -> None:
    api, box, _ = service
    ada, address = await newcomer(service), f"{uuid4().hex}@example.com"
    answer = await api.post(EMAIL, {"new_email": address, "password": PASSWORD}, as_=ada)
    assert answer.status == 202
    link, notice = await box.next_to(address), await box.next_to(ada.email, after=1)
    assert "new email address" in link["Subject"]
    assert address in text_of(notice)
    assert not re.search("https?://", text_of(notice))
    assert (await api.get("/api/v1/auth/me", as_=ada)).body["email"] == ada.email
    assert (await api.post(VERIFY, {"token": token_of(link)})).status == 204
    profile = (await api.get("/api/v1/auth/me", as_=ada)).body
    assert (profile["email"], profile["email_verified"]) == (address, True)
    assert await can_sign_in(api, address, PASSWORD)
    assert not await can_sign_in(api, ada.email, PASSWORD)
    taken = await api.post("/api/v1/auth/register", {"email": address, "password": NEW})
    assert taken.problem() == "email-already-registered"
    assert (await api.post("/api/v1/auth/register", {"email": ada.email, "password": NEW})).status == 201
    assert (await api.post(VERIFY, {"token": token_of(link)})).problem() == "invalid-one-time-token"


async def test_an_address_of_another_account_is_not_given_away(service: Service) -> None:
    api, box, _ = service
    ada, bob, address = await newcomer(service), await newcomer(service), f"{uuid4().hex}@example.com"
    free = await api.post(EMAIL, {"new_email": address, "password": PASSWORD}, as_=ada)
    taken = await api.post(EMAIL, {"new_email": bob.email.upper(), "password": PASSWORD}, as_=ada)
    assert (free.status, free.body) == (taken.status, taken.body)
    await box.next_to(ada.email, after=2)
    assert sum(bob.email in str(one["To"]).lower() for one in box.messages) == 1
    link = token_of(await box.next_to(address))
    assert (await api.post("/api/v1/auth/register", {"email": address, "password": NEW})).status == 201
    refused = await api.post(VERIFY, {"token": link})
    assert (refused.status, refused.problem()) == (400, "email-already-registered")
    assert (await api.get("/api/v1/auth/me", as_=ada)).body["email"] == ada.email


async def test_a_change_of_address_needs_the_password(service: Service) -> None:
    ada = await newcomer(service)
    wrong = await service.api.post(EMAIL, {"new_email": "x@example.com", "password": "wrong horse 9"}, as_=ada)
    assert (wrong.status, wrong.problem()) == (401, "wrong-email-or-password")
    answer = await service.api.post(EMAIL, {"new_email": "nonsense", "password": PASSWORD}, as_=ada)
    assert answer.failing() == {"new_email": "email"}
    injected = {"new_email": "a@example.com\r\nBcc: eve@example.com", "password": PASSWORD}
    assert (await service.api.post(EMAIL, injected, as_=ada)).status == 422


async def test_the_own_address_is_confirmed_without_a_notice(service: Service) -> None:
    ada = await newcomer(service)
    body = {"new_email": ada.email.upper(), "password": PASSWORD}
    assert (await service.api.post(EMAIL, body, as_=ada)).status == 202
    message = await service.box.next_to(ada.email, after=1)
    assert "confirm your email" in message["Subject"]
    assert (await service.api.post(VERIFY, {"token": token_of(message)})).status == 204
    profile = (await service.api.get("/api/v1/auth/me", as_=ada)).body
    assert (profile["email"], profile["email_verified"]) == (ada.email, True)


async def test_where_it_is_required_nobody_signs_in_before(database_url: str) -> None:
    async with mail_server() as box:
        url = f"smtp://127.0.0.1:{box.port}"
        settings = make_settings(database_url, smtp_url=url, require_verified_email=True, **URLS)
        async with running_service(settings) as api:
            body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
            refused = await api.post("/api/auth/signup", body)
            assert (refused.status, refused.problem()) == (403, "email-not-verified")
            first = await box.next_to(body["email"])
            for path in ("/api/v1/auth/login", "/api/auth/login", "/api/auth/signin"):
                refused = await api.post(path, body)
                assert (refused.status, refused.problem()) == (403, "email-not-verified")
            form = f"grant_type=password&username={body['email']}&password={PASSWORD}".replace(" ", "+").encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            assert (await api.post("/api/v1/auth/token", raw=form, headers=headers)).problem() == "email-not-verified"
            assert (await api.post("/api/v1/auth/login", body | {"password": "wrong 12345"})).status == 401
            metrics = (await api.get("/metrics")).raw.decode()
            assert 'todo_auth_events_total{event="sign_in",outcome="unverified"} 4.0' in metrics
            assert 'event="sign_in",outcome="succeeded"' not in metrics
            failed = "SELECT FROM audit_log WHERE action = 'sign_in_failed' AND detail = 'email not confirmed'"
            assert len(await rows(database_url, failed)) >= 4
            await box.next_to(body["email"], after=4)
            assert (await api.post(VERIFY, {"token": token_of(first)})).status == 204
            assert (await api.post("/api/v1/auth/login", body)).status == 200
            other = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
            assert (await api.post("/api/v1/auth/register", other)).status == 201
            await box.next_to(other["email"])


async def test_an_administrator_sends_a_link(service: Service, database_url: str) -> None:
    api, box, _ = service
    ada, boss = await newcomer(service), await newcomer(service)
    async with only_administrators(database_url, boss):
        admin = User(boss.id, boss.email, (await sign_in(api, boss))["access_token"])
        assert (await api.post(f"/api/v1/users/{ada.id}/password-reset", as_=admin)).status == 202
        assert (await api.post(f"/api/v1/users/{uuid4()}/password-reset", as_=admin)).status == 404
        await run_sql(database_url, f"INSERT INTO users (id) VALUES ('outside-{ada.id}')")
        outside = await api.post(f"/api/v1/users/outside-{ada.id}/password-reset", as_=admin)
        assert (outside.status, outside.problem()) == (403, "no-password-account")
    token = token_of(await box.next_to(ada.email, after=1))
    assert (await api.post(RESET, {"token": token, "new_password": NEW})).status == 204
    acts = await rows(
        database_url,
        "SELECT actor_id FROM audit_log WHERE action = 'password_reset_requested' AND subject_id = $1",
        ada.id,
    )
    assert [row["actor_id"] for row in acts] == [boss.id]


async def test_without_a_mail_server(database_url: str) -> None:
    production = {"environment": "staging", "gemini_base_url": "https://127.0.0.1:1"}
    async with running_service(make_settings(database_url, **production)) as api:
        ada = await api.new_user()
        for path, body, user in (
            (FORGOT, {"email": ada.email}, None), (EMAIL, {"new_email": "x@example.com", "password": PASSWORD}, ada),
        ):  # fmt: skip
            answer = await api.post(path, body, as_=user)
            assert (answer.status, answer.problem()) == (503, "mail-not-configured")
            assert answer.headers["Retry-After"] == "3600"


async def test_recovery_counts_against_the_limits_of_signing_in(database_url: str) -> None:
    async with mail_server() as box:
        url = f"smtp://127.0.0.1:{box.port}"
        settings = make_settings(database_url, smtp_url=url, rate_limit_enabled=True, rate_limit_auth=6, **URLS)
        async with running_service(settings) as api:
            answers = [await api.post(FORGOT, {"email": "ada@example.com"}) for _ in range(7)]
            assert [answer.status for answer in answers] == [202] * 6 + [429]
            sign_in_ = await api.post("/api/v1/auth/login", {"email": "bob@example.com", "password": PASSWORD})
            assert sign_in_.status == 429


async def test_a_database_that_is_away_for_a_moment_loses_no_request(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await newcomer(service)
    select, failures = users.select_by_email_key, [OSError("away")]

    async def fail_once(*arguments: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return await select(*arguments, **named)

    monkeypatch.setattr("todo_service.auth.reset_requests.PAUSE", 0.05)
    monkeypatch.setattr(users, "select_by_email_key", fail_once)
    await forgot(service, ada.email)
    await service.box.next_to(ada.email, after=1)
