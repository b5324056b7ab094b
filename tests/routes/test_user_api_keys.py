"""Users' API keys: validated by the provider, kept encrypted, shown masked, in clear only to a service for its user."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from tests import provider as misbehaviour
from tests.auth_server import SHARED_SECRET, shared
from tests.client import PASSWORD, Answer, Api, User
from tests.conftest import make_settings, run_sql, running_service, template_name, temporary_database
from tests.matching import A_MOMENT
from tests.observability.test_metrics import shown
from tests.provider import BAD, GOOD, KEYS, OTHER_GOOD, SPENT, AiProvider, ai_provider, always
from tests.routes.test_sessions import only_administrators, rows, sign_in

PATH = "/api/user-api-keys"
CURRENT = f"{PATH}/current"
TEST = f"{PATH}/test"
SERVICE_TOKEN = "a-service-we-trust-0123456789-abcdef"
MASKED = "AIza...9ab"
FIELDS = {
    "configured", "provider", "masked_key", "plaintext_key", "validation_status", "last_validated_at", "created_at",
    "updated_at",
}  # fmt: skip
NOTHING = dict.fromkeys(FIELDS) | {"configured": False, "provider": "gemini"}


@pytest_asyncio.fixture(scope="module")
async def running_provider() -> AsyncIterator[AiProvider]:
    async with ai_provider() as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def keeping(database_url: str, running_provider: AiProvider) -> AsyncIterator[Api]:
    """A service that keeps API keys."""
    async with running_service(keeps_keys(database_url, running_provider)) as running:
        yield running


@pytest.fixture
def provider(running_provider: AiProvider) -> AiProvider:
    """The provider, well-behaved and asked nothing yet."""
    running_provider.answer = running_provider.judge
    running_provider.asked.clear()
    return running_provider


def keeps_keys(database_url: str, provider: AiProvider, **others: object) -> Any:
    usual: dict[str, object] = {
        "gemini_base_url": provider.url, "service_auth_token": SERVICE_TOKEN,
        "better_auth_secret": SHARED_SECRET,
    }  # fmt: skip
    return make_settings(database_url, **usual | others)


def acting_for(user_id: str) -> dict[str, str]:
    return {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": user_id}


async def store(api: Api, key: str, user: User | None = None, **options: Any) -> Answer:
    return await api.post(PATH, {"api_key": key}, as_=user, **options)


def problem(answer: Answer) -> tuple[int, str]:
    assert answer.headers["Cache-Control"] == "no-store"
    assert all(key not in answer.raw.decode() for key in KEYS)
    return answer.status, answer.problem()


READS = "FROM audit_log WHERE subject_id = $1 AND action = 'api_key_read'"


async def audited(database_url: str, user_id: str) -> list[tuple[Any, ...]]:
    sql = f"SELECT action, actor_id, request_id, detail {READS} ORDER BY id"
    return [tuple(row) for row in await rows(database_url, sql, user_id)]


async def test_a_good_key_is_stored_and_shown_masked(keeping: Api, provider: AiProvider, ada: User) -> None:
    assert (await keeping.get(CURRENT, as_=ada)).body == NOTHING
    answer = await keeping.post(PATH, {"api_key": GOOD, "provider": "gemini"}, as_=ada)
    assert answer.status == 201
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(answer.body) == {"success", "message", "masked_key"}
    assert (answer.body["success"], answer.body["masked_key"]) == (True, MASKED)
    assert provider.asked == [GOOD]
    current = await keeping.get(CURRENT, as_=ada)
    assert (current.status, current.headers["Cache-Control"]) == (200, "no-store")
    assert current.body == {
        "configured": True, "provider": "gemini", "masked_key": MASKED, "plaintext_key": None,
        "validation_status": "valid", "last_validated_at": A_MOMENT, "created_at": A_MOMENT, "updated_at": A_MOMENT,
    }  # fmt: skip


async def test_camel_case_is_read_too(keeping: Api, provider: AiProvider, ada: User) -> None:
    assert (await keeping.post(PATH, {"apiKey": GOOD}, as_=ada)).status == 201


async def test_another_key_takes_its_place(keeping: Api, provider: AiProvider, ada: User) -> None:
    await store(keeping, SPENT, ada)
    first = (await keeping.get(CURRENT, as_=ada)).body
    assert (await store(keeping, OTHER_GOOD, ada)).status == 201
    second = (await keeping.get(CURRENT, as_=ada)).body
    assert (second["masked_key"], second["validation_status"]) == ("AIza...1xy", "valid")
    assert second["created_at"] == first["created_at"]
    for moment in ("updated_at", "last_validated_at"):
        assert second[moment] > first[moment]


async def test_a_key_is_each_users_own(keeping: Api, provider: AiProvider, ada: User, bob: User) -> None:
    await store(keeping, GOOD, ada)
    assert (await keeping.get(CURRENT, as_=bob)).body == NOTHING
    assert (await keeping.delete(CURRENT, as_=bob)).status == 404
    assert (await keeping.get(CURRENT, headers=acting_for(bob.id))).body == NOTHING
    assert (await keeping.get(CURRENT, as_=ada)).body["configured"]


async def test_a_deleted_key_is_gone(keeping: Api, provider: AiProvider, ada: User, database_url: str) -> None:
    assert problem(await keeping.delete(CURRENT, as_=ada)) == (404, "not-found")
    await store(keeping, GOOD, ada)
    answer = await keeping.delete(CURRENT, as_=ada)
    assert (answer.status, set(answer.body), answer.body["success"]) == (200, {"success", "message"}, True)
    assert answer.headers["Cache-Control"] == "no-store"
    assert problem(await keeping.delete(CURRENT, as_=ada)) == (404, "not-found")
    assert (await keeping.get(CURRENT, as_=ada)).body == NOTHING
    assert await rows(database_url, "SELECT FROM user_api_keys WHERE user_id = $1", ada.id) == []


async def test_a_key_that_the_provider_does_not_accept_is_not_stored(
    keeping: Api, provider: AiProvider, ada: User
) -> None:
    await store(keeping, GOOD, ada)
    assert problem(await store(keeping, BAD, ada)) == (400, "api-key-rejected")
    for status in (401, 403):
        provider.answer = always(status)
        assert problem(await store(keeping, OTHER_GOOD, ada)) == (400, "api-key-rejected")
    assert (await keeping.get(CURRENT, as_=ada)).body["masked_key"] == MASKED


async def test_a_key_whose_quota_is_used_up_is_stored_and_says_so(
    keeping: Api, provider: AiProvider, ada: User
) -> None:
    answer = await store(keeping, SPENT, ada)
    assert (answer.status, "quota" in answer.body["message"]) == (201, True)
    assert (await keeping.get(CURRENT, as_=ada)).body["validation_status"] == "quota_exceeded"
    assert (await keeping.get(CURRENT, headers=acting_for(ada.id))).body["plaintext_key"] == SPENT


@pytest.mark.parametrize(
    ("key", "success", "status"),
    [(GOOD, True, "valid"), (BAD, False, "invalid"), (SPENT, True, "quota_exceeded")],
)
async def test_testing_a_key_stores_nothing(
    keeping: Api, provider: AiProvider, ada: User, key: str, success: bool, status: str
) -> None:
    answer = await keeping.post(TEST, {"api_key": key}, as_=ada)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert set(answer.body) == {"success", "message", "validation_status"}
    assert (answer.body["success"], answer.body["validation_status"]) == (success, status)
    assert key not in answer.raw.decode()
    assert (await keeping.get(CURRENT, as_=ada)).body == NOTHING


@pytest.mark.parametrize("path", [PATH, TEST])
@pytest.mark.parametrize("way", ["dropped", "cut", "503", "307", "418", "html"])
async def test_a_provider_that_does_not_say_is_502_and_stores_nothing(
    keeping: Api, provider: AiProvider, ada: User, path: str, way: str
) -> None:
    async with ai_provider() as target:
        location = {"location": f"{target.url}{misbehaviour.PATH}"}
        named = {"503": always(503), "307": always(307, **location), "418": always(418), "html": always(200, "<p>")}
        provider.answer = named.get(way) or getattr(misbehaviour, way)
        assert problem(await keeping.post(path, {"api_key": GOOD}, as_=ada)) == (502, "provider-unreachable")
        assert (target.asked, target.elsewhere) == ([], 0)
    assert (await keeping.get(CURRENT, as_=ada)).body == NOTHING


@pytest.mark.parametrize("path", [PATH, TEST])
@pytest.mark.parametrize("key", ["", "AIza", "x" * 257, f" {GOOD}", f"{GOOD}\n", f"{GOOD}\r\nHost: evil", "ключ" * 10,
                                 "\0" * 30, "\ud800" * 30, "x" * 10_000])  # fmt: skip
async def test_a_key_of_wrong_form_is_sent_nowhere(
    keeping: Api, provider: AiProvider, ada: User, path: str, key: str
) -> None:
    assert problem(await keeping.post(path, {"api_key": key}, as_=ada)) == (400, "invalid-api-key")
    assert provider.asked == []


@pytest.mark.parametrize(
    ("body", "failing"),
    [
        ({}, {"api_key": "missing"}), ({"api_key": None}, {"api_key": "string_type"}),
        ({"api_key": 5, "provider": 1}, {"api_key": "string_type", "provider": "string_type"}),
        ({"api_key": GOOD, "provider": "closedai"}, {"provider": "enum"}),
        ({"api_key": GOOD, "provider": "http://169.254.169.254/"}, {"provider": "enum"}),
        ({"api_key": GOOD, "apiKey": GOOD}, {"api_key": "repeated"}), ([GOOD], {"body": "object_expected"}),
    ],
)  # fmt: skip
async def test_bodies_that_are_not_valid(
    keeping: Api, provider: AiProvider, ada: User, body: Any, failing: dict[str, str]
) -> None:
    for path in (PATH, TEST):
        answer = await keeping.post(path, body, as_=ada)
        assert (problem(answer), answer.failing()) == ((422, "validation-error"), failing)
    assert provider.asked == []


async def test_an_unknown_provider_has_no_key(keeping: Api, ada: User) -> None:
    for method in ("GET", "DELETE"):
        answer = await keeping.send(method, f"{CURRENT}?provider=closedai", as_=ada)
        assert (answer.status, answer.failing()) == (422, {"provider": "enum"})
    assert (await keeping.get(f"{CURRENT}?provider=gemini", as_=ada)).body == NOTHING


async def test_only_a_service_sees_a_key_in_clear_and_each_time_is_written_down(
    keeping: Api, provider: AiProvider, ada: User, bob: User, database_url: str
) -> None:
    await keeping.get(CURRENT, headers=acting_for(ada.id))
    assert await audited(database_url, ada.id) == [], "there was nothing to read"
    await store(keeping, GOOD, ada)
    await store(keeping, OTHER_GOOD, bob)
    for number, headers in enumerate((acting_for(ada.id), _by_bearer(ada.id))):
        answer = await keeping.get(CURRENT, headers=headers | {"X-Request-ID": f"reading-{number}"})
        assert set(answer.body) == FIELDS
        assert (answer.body["plaintext_key"], answer.body["masked_key"]) == (GOOD, None)
        assert (answer.headers["Cache-Control"], answer.body["validation_status"]) == ("no-store", "valid")
    head = await keeping.send("HEAD", CURRENT, headers=acting_for(ada.id) | {"X-Request-ID": "reading-2"})
    assert head.status == 200
    assert await audited(database_url, ada.id) == [
        ("api_key_read", "service", f"reading-{number}", "gemini") for number in range(3)
    ]
    moments = await rows(database_url, f"SELECT now() - at {READS}", ada.id)
    assert all(0 <= moment[0].total_seconds() < 30 for moment in moments)
    assert await audited(database_url, bob.id) == []


def _by_bearer(user_id: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {SERVICE_TOKEN}", "X-User-ID": user_id}


async def test_nobody_else_sees_one(
    keeping: Api, provider: AiProvider, ada: User, bob: User, database_url: str
) -> None:
    await store(keeping, GOOD, ada)
    async with only_administrators(database_url, bob):
        admin = (await sign_in(keeping, bob))["access_token"]
        outsider = shared(sub=ada.id)
        tries = [
            await keeping.get(CURRENT, as_=ada),
            await keeping.get(CURRENT, as_=ada, headers={"X-User-ID": ada.id}),
            await keeping.get(CURRENT, token=admin, headers={"X-User-ID": ada.id}),
            await keeping.get(f"{CURRENT}?user_id={ada.id}&X-User-ID={ada.id}", token=admin),
            await keeping.get(CURRENT, token=outsider),
            await keeping.get(CURRENT, as_=ada, headers={"X-Service-Auth": SERVICE_TOKEN + "x", "X-User-ID": ada.id}),
            await keeping.get(f"/api/v1/users/{ada.id}", token=admin),
            await keeping.get("/api/v1/export", as_=ada),
        ]
    assert [answer.status for answer in tries] == [200, 200, 200, 200, 401, 401, 200, 200]
    assert all(GOOD not in answer.raw.decode() for answer in tries)
    assert all(answer.body["plaintext_key"] is None for answer in tries[:4])
    assert [answer.body["configured"] for answer in tries[:4]] == [True, True, False, False]
    assert await audited(database_url, ada.id) == []


async def test_no_key_is_given_out_that_is_not_written_down(postgres_url: str, provider: AiProvider) -> None:
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        running_service(keeps_keys(url, provider)) as api,
    ):
        ada = await api.new_user()
        await store(api, GOOD, ada)
        await run_sql(url, "ALTER TABLE audit_log ADD CONSTRAINT full_up CHECK (action <> 'api_key_read') NOT VALID")
        refused = await api.get(CURRENT, headers=acting_for(ada.id))
        assert (refused.status, GOOD in refused.raw.decode()) == (500, False)
        assert (await api.get(CURRENT, as_=ada)).body["masked_key"] == MASKED


async def test_what_is_stored_says_nothing(keeping: Api, provider: AiProvider, ada: User, database_url: str) -> None:
    await store(keeping, GOOD, ada)
    [(kept,)] = await rows(database_url, "SELECT t::text FROM user_api_keys AS t WHERE user_id = $1", ada.id)
    assert "gAAAA" in kept
    assert not any(part in kept for part in (GOOD, GOOD[:8], GOOD[-7:]))


async def test_a_ciphertext_in_another_users_row_is_not_their_key(
    keeping: Api, provider: AiProvider, ada: User, bob: User, database_url: str
) -> None:
    await store(keeping, GOOD, ada)
    await store(keeping, OTHER_GOOD, bob)
    stolen = f"(SELECT ciphertext FROM user_api_keys WHERE user_id = '{ada.id}')"
    await run_sql(database_url, f"UPDATE user_api_keys SET ciphertext = {stolen} WHERE user_id = '{bob.id}'")
    for options in ({"as_": bob}, {"headers": acting_for(bob.id)}):
        assert_undecryptable(await keeping.get(CURRENT, **options))
    assert (await keeping.get(CURRENT, headers=acting_for(ada.id))).body["plaintext_key"] == GOOD


def assert_undecryptable(answer: Answer) -> None:
    body = answer.body
    assert (answer.status, body["configured"], body["validation_status"]) == (200, True, "undecryptable")
    assert (body["masked_key"], body["plaintext_key"]) == (None, None)
    assert body["created_at"] == A_MOMENT


async def test_a_key_of_an_encryption_key_that_is_gone_is_told_and_can_be_replaced(
    keeping: Api, provider: AiProvider, ada: User, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    await store(keeping, GOOD, ada)
    other = keeps_keys(database_url, provider, encryption_key=Fernet.generate_key().decode())
    async with running_service(other) as api:
        for options in ({"as_": ada}, {"headers": acting_for(ada.id)}):
            capfd.readouterr()
            assert_undecryptable(await api.get(CURRENT, **options))
            told = capfd.readouterr().out
            assert "api_key_undecryptable" in told
            assert ada.id in told
        assert (await store(api, OTHER_GOOD, ada)).status == 201
        assert (await api.get(CURRENT, as_=ada)).body["masked_key"] == "AIza...1xy"
        assert (await api.delete(CURRENT, as_=ada)).status == 200


async def test_without_an_encryption_key_these_routes_are_503_and_the_rest_works(
    provider: AiProvider, ada: User, database_url: str
) -> None:
    async with running_service(keeps_keys(database_url, provider, encryption_key=None)) as api:
        await refuses_these_alone(api, ada)
    assert provider.asked == []


async def refuses_these_alone(api: Api, ada: User) -> None:
    body = {"api_key": GOOD}
    for method, path, sent in (
        ("POST", PATH, body),
        ("POST", TEST, body),
        ("GET", CURRENT, {}),
        ("DELETE", CURRENT, {}),
    ):
        answer = await api.send(method, path, sent, as_=ada)
        assert problem(answer) == (503, "encryption-not-configured")
        assert "ENCRYPTION_KEY" in answer.body["detail"]
        assert (await api.send(method, path, sent)).status == 401
    assert (await api.get("/api/v1/tasks", as_=ada)).status == 200
    assert (await api.get("/health/ready")).status == 200


async def test_a_user_from_elsewhere_gets_a_row_with_the_first_key(
    keeping: Api, provider: AiProvider, database_url: str
) -> None:
    for number in range(2):
        user_id, email = f"elsewhere {uuid4().hex}", f"{uuid4().hex}@example.com"
        by_token = {"Authorization": f"Bearer {shared(sub=user_id, email=email)}"}
        headers = by_token if number else acting_for(user_id)
        assert (await keeping.get(CURRENT, headers=headers)).body == NOTHING
        assert problem(await store(keeping, BAD, headers=headers)) == (400, "api-key-rejected")
        assert await rows(database_url, "SELECT FROM users WHERE id = $1", user_id) == []
        assert (await store(keeping, GOOD, headers=headers)).status == 201
        assert (await store(keeping, OTHER_GOOD, headers=headers)).status == 201
        [(kept,)] = await rows(database_url, "SELECT email FROM users WHERE id = $1", user_id)
        assert kept == (email if number else None)
        assert (await keeping.get(CURRENT, headers=acting_for(user_id))).body["plaintext_key"] == OTHER_GOOD
        assert (await keeping.post("/api/v1/tasks", {"title": "t"}, headers=headers)).body["version"] == 1
        assert (await keeping.get("/api/v1/tasks", headers=headers)).body["total"] == 1


async def test_the_key_goes_with_its_account(
    keeping: Api, provider: AiProvider, ada: User, bob: User, database_url: str
) -> None:
    await store(keeping, GOOD, ada)
    assert (await keeping.delete("/api/v1/auth/me", body={"password": PASSWORD}, as_=ada)).status == 204
    outsider = uuid4().hex
    await store(keeping, GOOD, headers=acting_for(outsider))
    root = await keeping.new_user()
    await store(keeping, GOOD, bob)
    async with only_administrators(database_url, root):
        admin = (await sign_in(keeping, root))["access_token"]
        for user_id in (bob.id, outsider):
            assert (await keeping.delete(f"/api/v1/users/{user_id}", token=admin)).status == 204
    for user_id in (ada.id, bob.id, outsider):
        assert await rows(database_url, "SELECT FROM user_api_keys WHERE user_id = $1", user_id) == []


async def test_an_account_that_ends_while_the_provider_thinks_gets_no_key(
    keeping: Api, provider: AiProvider, ada: User, database_url: str
) -> None:
    asked, done = asyncio.Event(), asyncio.Event()
    provider.answer = _thinking(provider, asked, done)
    storing = asyncio.create_task(store(keeping, GOOD, ada))
    await asked.wait()
    assert (await keeping.delete("/api/v1/auth/me", body={"password": PASSWORD}, as_=ada)).status == 204
    done.set()
    assert problem(await storing) == (401, "unauthenticated")
    assert await rows(database_url, "SELECT FROM users WHERE id = $1", ada.id) == []


async def test_no_service_stores_a_key_for_an_account_that_ends_while_the_provider_thinks(
    keeping: Api, provider: AiProvider, ada: User, bob: User, database_url: str
) -> None:
    root = await keeping.new_user()
    async with only_administrators(database_url, root):
        admin = (await sign_in(keeping, root))["access_token"]
        by_themselves = {"path": "/api/v1/auth/me", "body": {"password": PASSWORD}, "as_": ada}
        by_an_administrator = {"path": f"/api/v1/users/{bob.id}", "token": admin}
        for user, deletion in ((ada, by_themselves), (bob, by_an_administrator)):
            asked, done = asyncio.Event(), asyncio.Event()
            provider.answer = _thinking(provider, asked, done)
            storing = asyncio.create_task(store(keeping, GOOD, headers=acting_for(user.id)))
            await asked.wait()
            assert (await keeping.delete(**deletion)).status == 204
            done.set()
            assert problem(await storing) == (503, "overloaded")
            assert await rows(database_url, "SELECT FROM users WHERE id = $1", user.id) == []


def _thinking(provider: AiProvider, asked: asyncio.Event, done: asyncio.Event) -> misbehaviour.Answer:
    """The provider's usual answer, as late as wanted."""

    async def think(request: Any) -> Any:
        asked.set()
        await done.wait()
        return await provider.judge(request)

    return think


async def test_who_is_being_deleted_is_not_made_again_by_a_key(
    keeping: Api, provider: AiProvider, ada: User, database_url: str
) -> None:
    db = await asyncpg.connect(database_url)
    async with db.transaction():
        await db.execute("DELETE FROM users WHERE id = $1", ada.id)
        storing = asyncio.create_task(store(keeping, GOOD, headers=acting_for(ada.id)))
        assert not (await asyncio.wait([storing], timeout=0.5))[0], "it waits for the end of that"
    assert problem(await storing) == (503, "overloaded")
    await db.close()
    assert await rows(database_url, "SELECT FROM users WHERE id = $1", ada.id) == []


async def test_deleting_an_account_races_storing_a_key(keeping: Api, provider: AiProvider, database_url: str) -> None:
    for _ in range(10):
        ada = await keeping.new_user()
        deleting = keeping.delete("/api/v1/auth/me", body={"password": PASSWORD}, as_=ada)
        *stored, deleted = await asyncio.gather(store(keeping, GOOD, ada), store(keeping, OTHER_GOOD, ada), deleting)
        assert deleted.status == 204
        assert {answer.status for answer in stored} <= {201, 401}
        assert await rows(database_url, "SELECT FROM user_api_keys WHERE user_id = $1", ada.id) == []


async def test_an_outsider_who_is_deleted_meanwhile_may_try_again(
    keeping: Api, provider: AiProvider, database_url: str
) -> None:
    user_id = uuid4().hex
    await store(keeping, GOOD, headers=acting_for(user_id))

    async def remove() -> None:
        for _ in range(20):
            await run_sql(database_url, f"DELETE FROM users WHERE id = '{user_id}'")

    removing = asyncio.create_task(remove())
    for answer in await asyncio.gather(*(store(keeping, GOOD, headers=acting_for(user_id)) for _ in range(20))):
        assert answer.status == 201 or problem(answer) == (503, "overloaded")
    await removing


async def test_of_two_keys_at_once_one_is_kept_whole(keeping: Api, provider: AiProvider, ada: User) -> None:
    answers = await asyncio.gather(*(store(keeping, key, ada) for key in (GOOD, OTHER_GOOD) * 5))
    assert {answer.status for answer in answers} == {201}
    assert (await keeping.get(CURRENT, headers=acting_for(ada.id))).body["plaintext_key"] in {GOOD, OTHER_GOOD}


async def test_five_attempts_an_hour_whatever_comes_of_them(
    provider: AiProvider, ada: User, bob: User, database_url: str
) -> None:
    settings = keeps_keys(database_url, provider, rate_limit_enabled=True)
    async with running_service(settings) as api:
        wrong_form = await api.post(PATH, {"api_key": "short"}, as_=ada)
        assert (wrong_form.status, wrong_form.headers["RateLimit-Policy"]) == (400, '"write";q=30;w=60')
        for number, (path, key, status) in enumerate(
            ((PATH, GOOD, 201), (TEST, GOOD, 200), (PATH, BAD, 400), (TEST, BAD, 200), (PATH, OTHER_GOOD, 502))
        ):
            provider.answer = always(500) if status == 502 else provider.judge
            answer = await api.post(path, {"api_key": key}, as_=ada)
            assert answer.status == status
            assert answer.headers["RateLimit-Policy"] == '"key-validation";q=5;w=3600'
            assert re.fullmatch(rf'"key-validation";r={4 - number};t=3[56]\d\d', answer.headers["RateLimit"])
        provider.answer = provider.judge
        for path in (PATH, TEST):
            refused = await api.post(path, {"api_key": GOOD}, headers=acting_for(ada.id))
            assert problem(refused) == (429, "rate-limited")
            assert 3500 < int(refused.headers["Retry-After"]) <= 3600
        assert len(provider.asked) == 5
        assert (await api.get(CURRENT, as_=ada)).body["masked_key"] == MASKED
        assert (await api.delete(CURRENT, as_=ada)).status == 200
        assert (await store(api, GOOD, bob)).status == 201
        metrics = await shown(api)
        assert metrics["todo_rate_limited_total{limit=key-validation}"] == 2
        validations = {name: count for name, count in metrics.items() if name.startswith("todo_key_validations_total")}
        outcomes = {"valid": 3, "invalid": 2, "unreachable": 1}
        assert validations == {
            f"todo_key_validations_total{{outcome={outcome},provider=gemini}}": count
            for outcome, count in outcomes.items()
        }


async def test_of_many_attempts_at_once_five_are_made(provider: AiProvider, ada: User, database_url: str) -> None:
    async with running_service(keeps_keys(database_url, provider, rate_limit_enabled=True)) as api:
        answers = await asyncio.gather(*(store(api, GOOD, ada) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [201] * 5 + [429] * 15
    assert len(provider.asked) == 5


async def test_a_slow_provider_holds_up_nobody_and_has_ten_seconds(
    ada: User, bob: User, database_url: str, provider: AiProvider
) -> None:
    """Neither a connection nor a place among the busy requests is taken meanwhile."""
    provider.answer = misbehaviour.slow
    settings = keeps_keys(database_url, provider, database_pool_max=1, max_requests_in_flight=3)
    async with running_service(settings) as api:
        started = time.monotonic()
        waiting = [asyncio.create_task(store(api, GOOD, ada)) for _ in range(10)]
        async with asyncio.timeout(5):
            while len(provider.asked) < 10:
                await asyncio.sleep(0.02)
            for user in (ada, bob):
                assert (await api.get("/api/v1/tasks", as_=user)).status == 200
                assert (await api.get(CURRENT, as_=user)).body == NOTHING
        assert {problem(answer) for answer in await asyncio.gather(*waiting)} == {(502, "provider-unreachable")}
        assert 9.9 < time.monotonic() - started < 11


async def test_no_answer_of_the_provider_is_passed_on(keeping: Api, provider: AiProvider, ada: User) -> None:
    for status in (200, 400, 401, 403, 429, 500):
        provider.answer = misbehaviour.echo(status)
        for path in (PATH, TEST):
            answer = await keeping.post(path, {"api_key": GOOD}, as_=ada)
            assert GOOD not in answer.raw.decode() + json.dumps([*answer.headers.items()])
