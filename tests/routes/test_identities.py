"""Every way in by HTTP, in every family: whoever comes from elsewhere is a user like any other, and never more."""

import asyncio
import gc
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import jwt
import pytest
import pytest_asyncio

from tests.auth.test_external_sessions import session
from tests.auth_server import ISSUER, SHARED_SECRET, Key, key_server, shared, signed_session
from tests.client import Answer, Api, User
from tests.conftest import SECRET_KEY, make_settings, run_sql, running_service
from tests.families import Dialect, in_every_family
from tests.routes.test_sessions import only_administrators, rows, sign_in
from tests.routes.test_table import concrete
from tests.rows import private_rows
from todo_service.auth import revocations
from todo_service.auth.access import Access
from todo_service.config import secrets
from todo_service.errors import CONSTRAINTS
from todo_service.postgres.connection import Connection
from todo_service.queries import users

SERVICE_TOKEN = "a-service-we-trust-0123456789-abcdef"
KEY = Key("EdDSA", "key-1")
Headers = dict[str, str]


@pytest_asyncio.fixture(scope="module")
async def open_api(database_url: str) -> AsyncIterator[Api]:
    """The service with every way in open."""
    async with key_server(KEY) as server:
        settings = make_settings(
            database_url, better_auth_secret=SHARED_SECRET, jwks_url=server.url, jwt_issuer=ISSUER,
            session_token_storage="plain", service_auth_token=SERVICE_TOKEN, max_tasks_per_user=20,
        )  # fmt: skip
        async with running_service(settings) as running:
            yield running


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


async def by_shared_secret(user_id: str, _: str) -> Headers:
    return bearer(shared(sub=user_id))


async def by_published_key(user_id: str, _: str) -> Headers:
    return bearer(KEY.sign(sub=user_id))


async def by_session(user_id: str, database_url: str) -> Headers:
    token = uuid4().hex
    await session(database_url, stored=token, user_id=user_id.replace("'", "''"))
    return bearer(token)


async def by_signed_session(user_id: str, database_url: str) -> Headers:
    token = uuid4().hex
    await session(database_url, stored=token, user_id=user_id.replace("'", "''"))
    return bearer(quote(signed_session(token)))


async def by_service(user_id: str, _: str) -> Headers:
    return {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": user_id}


async def by_service_bearer(user_id: str, _: str) -> Headers:
    return bearer(SERVICE_TOKEN) | {"X-User-ID": user_id}


WAYS_IN: list[Callable[[str, str], Any]] = [
    by_shared_secret, by_published_key, by_session, by_signed_session, by_service, by_service_bearer,
]  # fmt: skip
in_every_way = pytest.mark.parametrize("way", WAYS_IN, ids=lambda way: way.__name__)


def named(user_id: str) -> User:
    return User(quote(user_id, safe=""), "", "")


async def row(database_url: str, user_id: str) -> Any:
    import asyncpg

    db = await asyncpg.connect(database_url)
    try:
        return await db.fetchrow("SELECT email, email_key, role FROM users WHERE id = $1", user_id)
    finally:
        await db.close()


@in_every_way
@in_every_family
async def test_every_way_in_serves_every_family(
    open_api: Api, database_url: str, family: Dialect, way: Callable[[str, str], Any]
) -> None:
    user_id = uuid4().hex  # 32 characters, as Better Auth has them
    headers, path = await way(user_id, database_url), family.tasks(named(user_id))
    assert family.unwrap((await open_api.get(path, headers=headers)).body) == []
    assert await row(database_url, user_id) is None, "reading makes no row"
    created = await open_api.post(path, {"title": "t"}, headers=headers)
    assert (created.status, created.body["version"]) == (201, 1), created.raw
    assert created.body[family.field("user_id")] == user_id
    task = family.task(named(user_id), created.body["id"])
    assert (await open_api.patch(task + "/complete", headers=headers)).body["version"] == 2
    assert (await open_api.put(task, {"title": "u"}, headers=headers)).body["title"] == "u"
    assert len(family.unwrap((await open_api.get(path, headers=headers)).body)) == 1
    assert (await open_api.delete(task, headers=headers)).status == 204
    stranger = await way(uuid4().hex, database_url)
    answer = await open_api.get(task, headers=stranger)
    assert (answer.status, answer.problem()) == ((403, "forbidden") if "user_id" in family.path else (404, "not-found"))


@in_every_way
@pytest.mark.parametrize("user_id", ["a b", "50%", "a/b", "o'brien", "x?y#z", "a;b", "Zoë", "%2F", "auth0|12", "u+v@w"])
async def test_an_id_is_any_text_percent_encoded_in_a_path(
    open_api: Api, database_url: str, way: Callable[[str, str], Any], user_id: str
) -> None:
    user_id += uuid4().hex
    headers = await way(user_id, database_url)
    from yarl import URL

    for prefix in ("/api/", "/api/users/"):
        url = URL(open_api.base + prefix + quote(user_id, safe="") + "/tasks", encoded=True)
        async with open_api.session.post(url, json={"title": "t"}, headers=headers) as response:
            assert response.status == 201, await response.text()
            assert (await response.json())["user_id"] == user_id


async def test_twenty_first_writes_at_once_make_one_user_and_versions_without_a_gap(
    open_api: Api, database_url: str
) -> None:
    for way in (by_shared_secret, by_service) * 3:
        user_id = uuid4().hex
        headers = await way(user_id, database_url)
        writes = [open_api.post("/api/v1/tasks", {"title": "t"}, headers=headers) for _ in range(21)]
        answers: list[Answer] = await asyncio.gather(*writes)
        assert sorted(a.body["version"] for a in answers if a.status == 201) == list(range(1, 21))
        assert [a.problem() for a in answers if a.status != 201] == ["quota-exceeded"]


async def test_a_first_write_that_fails_makes_no_user(open_api: Api, database_url: str) -> None:
    user_id, task_id = uuid4().hex, str(uuid4())
    headers = bearer(shared(sub=user_id))
    assert (await open_api.post("/api/v1/tasks", {"title": ""}, headers=headers)).status == 422
    assert await row(database_url, user_id) is None
    assert (await open_api.post("/api/v1/tasks", {"title": "t", "id": task_id}, headers=headers)).status == 201
    assert (await open_api.post("/api/v1/tasks", {"title": "u", "id": task_id}, headers=headers)).status == 409
    assert (await open_api.post("/api/v1/tasks", {"title": "t"}, headers=headers)).body["version"] == 2
    assert "tasks_pkey" in CONSTRAINTS


async def test_an_email_of_a_local_account_neither_collides_nor_links(open_api: Api, database_url: str) -> None:
    ada = await open_api.new_user()
    user_id = uuid4().hex
    headers = bearer(shared(sub=user_id, email=ada.email))
    assert (await open_api.post("/api/v1/tasks", {"title": "t"}, headers=headers)).status == 201
    assert tuple(await row(database_url, user_id)) == (ada.email, None, "user")
    assert (await open_api.get("/api/v1/tasks", as_=ada)).body["total"] == 0
    assert (await open_api.post("/api/auth/signin", {"email": ada.email, "password": "correct horse 9"})).body[
        "user_id"
    ] == ada.id
    late = f"{uuid4().hex}@example.com"
    assert (
        await open_api.post("/api/v1/tasks", {"title": "t"}, headers=bearer(shared(sub=late, email=late)))
    ).status == 201
    assert (await open_api.post("/api/auth/signup", {"email": late, "password": "correct horse 9"})).status == 201


async def test_a_deleted_account_does_not_come_back(open_api: Api, database_url: str) -> None:
    ada = await open_api.new_user()
    gone = await open_api.delete("/api/v1/auth/me", body={"password": "correct horse 9"}, as_=ada)
    assert gone.status == 204
    answer = await open_api.post("/api/v1/tasks", {"title": "t"}, as_=ada)
    assert (answer.status, await row(database_url, ada.id)) == (401, None)


@in_every_way
async def test_whoever_has_no_password_here_is_told_so(
    open_api: Api, database_url: str, way: Callable[[str, str], Any]
) -> None:
    user_id = uuid4().hex
    headers = await way(user_id, database_url)
    for method, path, body in (
        ("PATCH", "/api/v1/auth/me", {"full_name": "x"}),
        ("DELETE", "/api/v1/auth/me", {"password": "x"}),
        ("POST", "/api/v1/auth/password", {"current_password": "x", "new_password": "correct horse 10"}),
        ("POST", "/api/auth/logout", {"everywhere": True}),
    ):
        answer = await open_api.send(method, path, body, headers=headers)
        assert (answer.status, answer.problem()) == (403, "no-password-account")
    answer = await open_api.get("/api/v1/auth/me", headers=headers)
    assert (answer.status, answer.problem()) == (404, "not-found")
    assert "first task" in answer.body["detail"]
    verified = (await open_api.get("/api/auth/verify", headers=headers)).body
    assert (verified["user_id"], verified["verified"]) == (user_id, True)
    await open_api.post("/api/v1/tasks", {"title": "t"}, headers=headers)
    profile = (await open_api.get("/api/v1/auth/me", headers=headers)).body
    assert (profile["id"], profile["role"], profile["full_name"]) == (user_id, "user", None)


@in_every_way
async def test_every_row_of_the_table_answers_as_it_says(
    open_api: Api, database_url: str, way: Callable[[str, str], Any]
) -> None:
    user_id = uuid4().hex
    headers = await way(user_id, database_url)
    for route in private_rows():
        answer = await open_api.send(route.method, concrete(route, named(user_id)), raw=b"{", headers=headers)
        if route.access is Access.ACCOUNT:
            assert (answer.status, answer.problem()) == (403, "no-password-account"), route
        elif route.access is Access.ADMIN:
            assert (answer.status, answer.problem()) == (403, "admin-only"), route
        elif route.access is Access.PERSON and "X-User-ID" in headers:
            assert (answer.status, answer.problem()) == (403, "insufficient-scope"), route
        else:
            assert answer.status in {200, 204, 400, 404}, route
        foreign = await open_api.send(route.method, concrete(route, named("other")), raw=b"{", headers=headers)
        assert foreign.status == (403 if "user_id" in route.path else answer.status), route


async def test_a_service_says_who_it_is_and_for_whom(open_api: Api) -> None:
    ada = await open_api.new_user()
    good = {"X-Service-Auth": SERVICE_TOKEN}
    for wrong in ("", "x", SERVICE_TOKEN[:-1], SERVICE_TOKEN + "x", SERVICE_TOKEN.upper(), "\u00ff\u00fe"):
        for more in ({}, {"X-User-ID": ada.id}, bearer(ada.token), bearer(SERVICE_TOKEN) | {"X-User-ID": ada.id}):
            answer = await open_api.get("/api/v1/tasks", headers={"X-Service-Auth": wrong} | more)
            assert (answer.status, answer.problem()) == (401, "unauthenticated")
    for by in (good, bearer(SERVICE_TOKEN), good | bearer(ada.token)):
        answer = await open_api.get("/api/v1/tasks", headers=by)
        assert (answer.status, answer.problem()) == (400, "bad-request")
        for user_id in ("", "x" * 256):
            assert (await open_api.get("/api/v1/tasks", headers=by | {"X-User-ID": user_id})).status == 400
        assert (await open_api.get("/api/v1/tasks", headers=by | {"X-User-ID": ada.id})).status == 200
    for twice in ("X-Service-Auth", "X-User-ID"):
        headers = [*(good | {"X-User-ID": ada.id}).items(), (twice, {**good, "X-User-ID": ada.id}[twice])]
        async with open_api.session.get(open_api.base + "/api/v1/tasks", headers=headers) as response:
            assert response.status == (401 if twice == "X-Service-Auth" else 400)


async def test_the_user_header_means_nothing_without_a_service(open_api: Api) -> None:
    ada, bob = await open_api.new_user(), await open_api.new_user()
    await open_api.post("/api/v1/tasks", {"title": "of bob"}, as_=bob)
    assert (await open_api.get("/api/v1/tasks", as_=ada, headers={"X-User-ID": bob.id})).body["total"] == 0
    assert (await open_api.get("/api/v1/tasks", headers={"X-User-ID": bob.id})).status == 401


async def test_what_is_not_configured_is_off(api: Api, database_url: str) -> None:
    for way in WAYS_IN:
        headers = await way("somebody", database_url)
        assert (await api.get("/api/v1/tasks", headers=headers)).status == 401
    for empty in ("", "None"):
        headers = {"X-Service-Auth": empty, "X-User-ID": "somebody"}
        assert (await api.get("/api/v1/tasks", headers=headers)).status == 401


@in_every_way
async def test_an_inactive_account_is_shut_out_however_it_comes(
    open_api: Api, database_url: str, way: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = uuid4().hex
    headers = await way(user_id, database_url)
    assert (await open_api.post("/api/v1/tasks", {"title": "t"}, headers=headers)).status == 201
    await run_sql(database_url, f"UPDATE users SET is_active = false, revoked_at = now() WHERE id = '{user_id}'")
    async with asyncio.timeout(revocations.POLL_SECONDS + 3):
        while (answer := await open_api.get("/api/v1/tasks", headers=headers)).status == 200:
            await asyncio.sleep(0.1)
    service = way in (by_service, by_service_bearer)
    expected = (403, "account-inactive") if service else (401, "unauthenticated")
    assert (answer.status, answer.problem()) == expected
    answer = await open_api.post("/api/v1/auth/logout", {"everywhere": True}, headers=headers)
    assert (answer.status, answer.problem()) == expected


@in_every_way
async def test_somebody_deactivated_long_ago_is_shut_out(
    open_api: Api, database_url: str, way: Callable[[str, str], Any]
) -> None:
    """The feed of revocations does not know them: the database is asked at the first request."""
    user_id = uuid4().hex
    await run_sql(database_url, f"INSERT INTO users (id, is_active) VALUES ('{user_id}', false)")
    headers = await way(user_id, database_url)
    for _ in range(2):
        answer = await open_api.post("/api/v1/tasks", {"title": "t"}, headers=headers)
        assert answer.status == (403 if way in (by_service, by_service_bearer) else 401)


async def test_a_role_in_a_token_is_not_looked_at_and_our_tokens_stay_ours(open_api: Api) -> None:
    ada = await open_api.new_user()
    ours = jwt.decode(ada.token, options={"verify_signature": False}) | {"role": "admin"}
    for key in (SHARED_SECRET, secrets.derive_signing_key(SHARED_SECRET, "HS256")):
        forged = jwt.encode(ours, key, headers={"typ": "at+jwt"})
        assert (await open_api.get("/api/v1/tasks", token=forged)).status == 401
    foreign = jwt.encode(ours | {"iss": ISSUER}, SHARED_SECRET)
    assert (await open_api.get("/api/auth/verify", token=foreign)).status == 401, "she has a password here"
    own = jwt.encode(ours, SECRET_KEY)
    assert (await open_api.get("/api/v1/tasks", token=own)).status == 401, "the type is part of the token"


async def test_an_email_verification_is_no_identity(open_api: Api) -> None:
    for claims in ({"sub": ...}, {"sub": ..., "userId": "u"}, {"sub": ..., "id": "u"}):
        answer = await open_api.get("/api/v1/tasks", token=shared(**claims))
        assert (answer.status, 'error="invalid_token"' in answer.headers["WWW-Authenticate"]) == (401, True)


async def test_only_session_tokens_cost_a_query_more(
    open_api: Api, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for way in WAYS_IN:
        headers = await way("counted", database_url)
        await open_api.get("/api/v1/tasks", headers=headers)  # a new token is compared with the accounts here
        capfd.readouterr()
        assert (await open_api.get("/api/v1/tasks", headers=headers)).status == 200
        expected = 2 if way in (by_session, by_signed_session) else 1
        log = capfd.readouterr().out
        assert re.search(rf"statements=\S*{expected}\b", log), log
        assert "Bearer" not in log


async def test_an_issuer_that_is_away_is_503(database_url: str) -> None:
    async with key_server(KEY) as server:
        await server.stop()
        settings = make_settings(database_url, jwks_url=server.url)
        async with running_service(settings) as api:
            answer = await api.get("/api/v1/tasks", token=KEY.sign())
            assert (answer.status, answer.problem()) == (503, "issuer-unavailable")
            assert answer.headers["Retry-After"] == "5"
            ada = await api.new_user()
            assert (await api.get("/api/v1/tasks", as_=ada)).status == 200


async def test_without_a_key_of_our_own_one_is_derived(database_url: str) -> None:
    settings = make_settings(database_url, secret_key=None, better_auth_secret=SHARED_SECRET)
    async with running_service(settings) as api:
        ada = await api.new_user()
        assert (await api.get("/api/v1/tasks", as_=ada)).status == 200
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(ada.token, SHARED_SECRET, ["HS256"], options={"verify_aud": False})


async def test_an_auth_server_does_not_speak_for_accounts_here(open_api: Api, database_url: str) -> None:
    ada = await open_api.new_user()
    for way in (by_shared_secret, by_published_key, by_session, by_signed_session):
        answer = await open_api.get("/api/v1/tasks", headers=await way(ada.id, database_url))
        assert (answer.status, "Sign in here" in answer.body["detail"]) == (401, True)
        written = await open_api.post("/api/v1/tasks", {"title": "t"}, headers=await way(ada.id, database_url))
        assert written.status == 401
    assert (await open_api.get("/api/v1/tasks", headers=await by_service(ada.id, database_url))).status == 200


async def test_a_ban_outlasts_the_deletion_of_the_users_data(open_api: Api, database_url: str) -> None:
    admin, subject = await open_api.new_user(), f"outside-{uuid4().hex}"
    token = bearer(shared(sub=subject))
    await open_api.post("/api/v1/tasks", {"title": "t"}, headers=token)
    async with only_administrators(database_url, admin):
        admin = User(admin.id, admin.email, (await sign_in(open_api, admin))["access_token"])
        path = f"/api/v1/users/{subject}"
        assert (await open_api.patch(path, {"is_active": False, "full_name": "Eve"}, as_=admin)).status == 200
        assert (await open_api.delete(path, as_=admin)).status == 204
        left = (await open_api.get(path, as_=admin)).body
        assert (left["is_active"], left["full_name"], left["email"]) == (False, None, None)
        listed = (await open_api.get("/api/v1/users?is_active=false", as_=admin)).body["users"]
        assert subject in {user["id"] for user in listed}
        tasks = (await open_api.get(f"/api/v1/tasks?user_id={subject}", as_=admin)).body
        assert tasks["total"] == 0
        past = "UPDATE audit_log SET at = now() - interval '40 days' WHERE subject_id = $1"
        await rows(database_url, past, subject)
        async with running_service(make_settings(database_url, better_auth_secret=SHARED_SECRET)) as later:
            assert (await later.get("/api/v1/tasks", headers=token)).status == 401, "weeks later as well"
        assert (await open_api.patch(path, {"is_active": True}, as_=admin)).status == 200, "lifted"
        async with asyncio.timeout(5):
            while (await open_api.get("/api/v1/tasks", headers=token)).status != 200:
                await asyncio.sleep(0.2)
        assert (await open_api.delete(path, as_=admin)).status == 204
        assert (await open_api.get(path, as_=admin)).status == 404


async def test_a_deactivation_while_a_token_is_verified_is_not_missed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = f"outside-{uuid4().hex}"
    async with running_service(make_settings(database_url, better_auth_secret=SHARED_SECRET)) as api:
        await api.post("/api/v1/tasks", {"title": "t"}, headers=bearer(shared(sub=subject)))
        feeds = [one for one in gc.get_objects() if isinstance(one, revocations.Revocations) and one._database._pool]
        select = users.select_standing

        async def slow(db: Connection, *, user_id: str) -> users.Standing:
            found = await select(db, user_id=user_id)
            await run_sql(
                database_url,
                f"UPDATE users SET is_active = false, revoked_at = clock_timestamp() WHERE id = '{subject}'",
            )
            for feed in feeds:  # this service's is among them
                await feed.poll()
            return found

        monkeypatch.setattr(users, "select_standing", slow)
        assert (await api.get("/api/v1/tasks", headers=bearer(shared(sub=subject, jti="2")))).status == 401
