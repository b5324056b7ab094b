"""Sessions: refreshing, signing out, another password, the end of an account, and who notices how soon."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.client import PASSWORD, Answer, Api, User
from tests.conftest import SECRET_KEY, make_settings, run_sql, running_service
from tests.matching import A_REFRESH_TOKEN, A_TOKEN
from todo_service.postgres import citus

NOTICED_SECONDS = 5
NEW_PASSWORD = "another horse 10"


async def refresh(api: Api, token: str) -> Answer:
    return await api.post("/api/v1/auth/refresh", {"refresh_token": token})


async def sign_in(api: Api, user: User, password: str = PASSWORD) -> dict[str, Any]:
    answer = await api.post("/api/v1/auth/login", {"email": user.email, "password": password})
    assert answer.status == 200, answer.raw
    body: dict[str, Any] = answer.body
    return body


async def until_refused(api: Api, token: str) -> None:
    """Wait until an access token no longer holds: it must not take longer than promised."""
    async with asyncio.timeout(NOTICED_SECONDS):
        while (await api.get("/api/v1/tasks", token=token)).status != 401:
            await asyncio.sleep(0.1)


@asynccontextmanager
async def only_administrators(database_url: str, *users: User) -> AsyncIterator[None]:
    """These users, and nobody else, are administrators for the time of the block."""
    nobody = "UPDATE users SET role = 'user' WHERE role = 'admin'"
    await run_sql(database_url, nobody)
    for user in users:
        await run_sql(database_url, f"UPDATE users SET role = 'admin' WHERE id = '{user.id}'")
    yield
    await run_sql(database_url, nobody)


async def rows(database_url: str, sql: str, *arguments: object) -> list[Any]:
    db = await asyncpg.connect(database_url)
    found: list[Any] = await db.fetch(sql, *arguments)
    await db.close()
    return found


@pytest.mark.parametrize("path", ["/api/v1/auth/refresh", "/api/auth/refresh"])
async def test_a_refresh_gives_both_tokens_anew(api: Api, ada: User, path: str) -> None:
    answer = await api.post(path, {"refresh_token": ada.refresh_token})
    assert answer.status == 200
    assert set(answer.body) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert (answer.body["access_token"], answer.body["refresh_token"]) == (A_TOKEN, A_REFRESH_TOKEN)
    assert answer.body["refresh_token"] != ada.refresh_token
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    assert (await api.get("/api/v1/tasks", token=answer.body["access_token"])).status == 200
    assert (await refresh(api, answer.body["refresh_token"])).status == 200


async def test_20_concurrent_refreshes_get_the_same_successor_and_the_family_lives(api: Api, ada: User) -> None:
    answers = await asyncio.gather(*(refresh(api, ada.refresh_token) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    successors = {answer.body["refresh_token"] for answer in answers}
    assert len(successors) == 1
    assert (await refresh(api, successors.pop())).status == 200


async def test_a_use_after_the_window_ends_the_family_on_every_device(database_url: str) -> None:
    async with running_service(make_settings(database_url, refresh_reuse_seconds=0.2)) as api:
        ada = await api.new_user()
        elsewhere = (await sign_in(api, ada))["refresh_token"]
        successor = (await refresh(api, ada.refresh_token)).body["refresh_token"]
        await asyncio.sleep(0.3)
        reused = await refresh(api, ada.refresh_token)
        assert (reused.status, reused.problem()) == (401, "unauthenticated")
        assert (await refresh(api, successor)).status == 401
        assert (await refresh(api, elsewhere)).status == 200, "another sign-in is another family"


async def test_a_session_that_ends_takes_its_access_tokens_with_it(database_url: str) -> None:
    """By a sign-out, and by a refresh token that two parties hold."""
    async with running_service(make_settings(database_url, refresh_reuse_seconds=0)) as api:
        ada, bob = await api.new_user(), await api.new_user()
        elsewhere = (await sign_in(api, ada))["access_token"]
        assert (await api.post("/api/v1/auth/logout", {"refresh_token": ada.refresh_token})).status == 204
        stolen = (await refresh(api, bob.refresh_token)).body["access_token"]
        assert (await refresh(api, bob.refresh_token)).status == 401
        for token in (ada.token, bob.token, stolen):
            await until_refused(api, token)
        assert (await api.get("/api/v1/tasks", token=elsewhere)).status == 200
        async with running_service(make_settings(database_url)) as another:
            assert (await another.get("/api/v1/tasks", token=stolen)).status == 401, "from its first request on"


async def test_a_key_change_within_the_window_still_gives_the_same_successor(database_url: str) -> None:
    next_key = "the-next-key-for-tests-0123456789abcdef"
    async with running_service(make_settings(database_url)) as old:
        ada = await old.new_user()
        successor = (await refresh(old, ada.refresh_token)).body["refresh_token"]
    changed = make_settings(database_url, secret_key=next_key, secret_key_previous=SECRET_KEY)
    async with running_service(changed) as new:
        assert (await refresh(new, ada.refresh_token)).body["refresh_token"] == successor
        assert (await new.get("/api/v1/tasks", as_=ada)).status == 200
        assert (await refresh(new, successor)).status == 200


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "é" * 43, "a\0b", "x" * 60_000, "' OR 1=1 --"])
@pytest.mark.parametrize("user", ["", "YQ.", "AA.", "_w.", "YQBi.", "=.", "a.", "YQ.YQ.", "Y" * 1400 + "."])
async def test_what_is_no_refresh_token_is_401(api: Api, user: str, token: str) -> None:
    answer = await refresh(api, user + token)
    assert (answer.status, answer.problem()) == (401, "unauthenticated")
    assert (await api.post("/api/v1/auth/logout", {"refresh_token": user + token})).status == 204


@asynccontextmanager
async def as_on_a_cluster(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """The service with the statements for a cluster, which one server takes too."""
    with monkeypatch.context() as patch:
        patch.setattr(citus, "SELECT_IS_PRESENT", "SELECT true")
        async with running_service(make_settings(database_url)) as running:
            yield running


async def test_on_a_cluster_a_refresh_token_is_for_the_user_that_it_names(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with as_on_a_cluster(database_url, monkeypatch) as api:
        ada, bob = await api.new_user(), await api.new_user()
        name, _, secret = ada.refresh_token.partition(".")
        other = bob.refresh_token.partition(".")[0]
        for token in (f"{other}.{secret}", secret, f"{ada.refresh_token}=", f"{name}.{name}.{secret}"):
            assert (await refresh(api, token)).status == 401
            assert (await api.post("/api/v1/auth/logout", {"refresh_token": token})).status == 204
        first, again = [(await refresh(api, ada.refresh_token)).body["refresh_token"] for _ in range(2)]
        assert (first, first.partition(".")[0]) == (again, name)
        assert (await refresh(api, first)).status == 200
        assert (await api.post("/api/v1/auth/logout", {"refresh_token": bob.refresh_token})).status == 204
        assert (await refresh(api, bob.refresh_token)).status == 401


async def test_on_a_cluster_a_use_after_the_window_ends_the_family(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(citus, "SELECT_IS_PRESENT", "SELECT true")
        async with running_service(make_settings(database_url, refresh_reuse_seconds=0)) as api:
            ada = await api.new_user()
            second = (await refresh(api, ada.refresh_token)).body["refresh_token"]
            for token in (ada.refresh_token, second):
                assert (await refresh(api, token)).status == 401


async def test_either_form_of_a_refresh_token_is_taken_on_one_server_and_on_a_cluster(
    api: Api, ada: User, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with as_on_a_cluster(database_url, monkeypatch) as cluster:
        named = [(await refresh(cluster, ada.refresh_token)).body["refresh_token"] for _ in range(2)]
        assert (named[0], "." in named[0], "." in ada.refresh_token) == (named[1], True, False)
        bare = [(await refresh(api, named[0])).body["refresh_token"] for _ in range(2)]
        assert (bare[0], "." in bare[0]) == (bare[1], False)
        assert (await cluster.post("/api/v1/auth/logout", {"refresh_token": bare[0]})).status == 204
        assert (await refresh(api, bare[0])).status == 401


async def test_a_token_is_good_for_its_own_purpose_only(api: Api, ada: User) -> None:
    assert (await refresh(api, ada.token)).status == 401
    assert (await api.get("/api/v1/tasks", token=ada.refresh_token)).status == 401


async def test_the_database_holds_no_token_in_clear(api: Api, ada: User, database_url: str) -> None:
    successor = (await refresh(api, ada.refresh_token)).body["refresh_token"]
    dump = str(
        await rows(database_url, "SELECT token::text, encode(token_hash, 'escape') FROM refresh_tokens AS token")
    )
    for token in (ada.refresh_token, successor, ada.token):
        assert token not in dump


@pytest.mark.parametrize("path", ["/api/v1/auth/logout", "/api/auth/logout"])
async def test_a_sign_out_ends_that_session_alone(api: Api, ada: User, path: str) -> None:
    elsewhere = (await sign_in(api, ada))["refresh_token"]
    successor = (await refresh(api, ada.refresh_token)).body["refresh_token"]
    for _ in range(2):
        answer = await api.post(path, {"refresh_token": ada.refresh_token})
        assert (answer.status, answer.raw) == (204, b"")
    assert (await refresh(api, successor)).status == 401
    assert (await refresh(api, elsewhere)).status == 200


@pytest.mark.parametrize("by", ["access token", "refresh token"])
async def test_a_sign_out_everywhere_ends_all(api: Api, ada: User, bob: User, by: str) -> None:
    elsewhere = await sign_in(api, ada)
    body = {"everywhere": True} | ({"refresh_token": ada.refresh_token} if by == "refresh token" else {})
    answer = await api.post("/api/v1/auth/logout", body, as_=ada if by == "access token" else None)
    assert answer.status == 204
    for token in (ada.refresh_token, elsewhere["refresh_token"]):
        assert (await refresh(api, token)).status == 401
    await until_refused(api, ada.token)
    await until_refused(api, elsewhere["access_token"])
    again = await sign_in(api, ada)
    assert (await api.get("/api/v1/tasks", token=again["access_token"])).status == 200, "good at once"
    assert (await api.get("/api/v1/tasks", as_=bob)).status == 200


@pytest.mark.parametrize("how", ["used", "expired"])
async def test_a_refresh_token_that_is_over_ends_nothing_elsewhere(database_url: str, how: str) -> None:
    async with running_service(make_settings(database_url, refresh_reuse_seconds=0)) as api:
        ada = await api.new_user()
        elsewhere = await sign_in(api, ada)
        if how == "used":
            await refresh(api, ada.refresh_token)
        else:
            await run_sql(
                database_url,
                f"UPDATE refresh_tokens SET expires_at = now() WHERE user_id = '{ada.id}' AND token_hash ="
                f" sha256('{ada.refresh_token}'::bytea)",
            )
        answer = await api.post("/api/v1/auth/logout", {"everywhere": True, "refresh_token": ada.refresh_token})
        assert answer.status == 401
        assert (await refresh(api, elsewhere["refresh_token"])).status == 200
        assert (await api.post("/api/v1/auth/logout", {"refresh_token": ada.refresh_token})).status == 204


async def test_a_sign_out_says_what_it_needs(api: Api) -> None:
    assert (await api.post("/api/v1/auth/logout", {})).failing() == {"body": "missing"}
    assert (await api.post("/api/v1/auth/logout", {"everywhere": True})).status == 401
    assert (await api.post("/api/v1/auth/logout", {"everywhere": True, "refresh_token": "x"})).status == 401
    assert (await api.post("/api/v1/auth/logout", {"refresh_token": "x"})).status == 204


async def test_the_profile_changes_and_the_rest_stays(api: Api, ada: User) -> None:
    before = (await api.get("/api/v1/auth/me", as_=ada)).body
    renamed = await api.patch("/api/v1/auth/me", {"fullName": " Ada Lovelace ", "role": "admin"}, as_=ada)
    assert renamed.status == 200
    assert renamed.body == before | {"full_name": "Ada Lovelace", "updated_at": renamed.body["updated_at"]}
    for body in ({}, {"email": "x@example.com"}, {"full_name": "Ada Lovelace"}):
        assert (await api.patch("/api/v1/auth/me", body, as_=ada)).body == renamed.body
    assert (await api.patch("/api/v1/auth/me", {"full_name": None}, as_=ada)).body["full_name"] is None
    assert (await api.patch("/api/v1/auth/me", {"full_name": 5}, as_=ada)).failing() == {"full_name": "string_type"}


async def test_another_password_ends_every_other_session(api: Api, ada: User) -> None:
    elsewhere = await sign_in(api, ada)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    answer = await api.post("/api/v1/auth/password", body, as_=ada)
    assert (answer.status, answer.raw) == (204, b"")
    assert (await refresh(api, elsewhere["refresh_token"])).status == 401
    await until_refused(api, elsewhere["access_token"])
    here = await refresh(api, ada.refresh_token)
    assert (await api.get("/api/v1/tasks", token=here.body["access_token"])).status == 200
    await sign_in(api, ada, NEW_PASSWORD)
    old = await api.post("/api/v1/auth/login", {"email": ada.email, "password": PASSWORD})
    assert old.status == 401


@pytest.mark.parametrize(
    ("current", "new", "outcome"),
    [
        ("wrong horse 9", NEW_PASSWORD, (401, "wrong-email-or-password")),
        (PASSWORD, "short", (422, "validation-error")),
        (PASSWORD, "password1", (422, "validation-error")),
        (PASSWORD, "EMAIL", (422, "validation-error")),
        (5, NEW_PASSWORD, (422, "validation-error")),
    ],
)
async def test_a_password_is_not_changed(api: Api, ada: User, current: Any, new: str, outcome: tuple[int, str]) -> None:
    body = {"current_password": current, "new_password": ada.email.upper() if new == "EMAIL" else new}
    answer = await api.post("/api/v1/auth/password", body, as_=ada)
    assert (answer.status, answer.problem()) == outcome
    await sign_in(api, ada)


async def test_of_two_changes_of_password_at_once_one_wins(api: Api, ada: User) -> None:
    bodies = [{"current_password": PASSWORD, "new_password": f"{NEW_PASSWORD}{n}"} for n in range(5)]
    answers = await asyncio.gather(*(api.post("/api/v1/auth/password", body, as_=ada) for body in bodies))
    assert sorted(answer.status for answer in answers) == [204, 401, 401, 401, 401]


async def test_sign_outs_and_refreshes_at_once_leave_no_session(api: Api) -> None:
    for _ in range(10):
        ada = await api.new_user()
        everywhere = api.post("/api/v1/auth/logout", {"everywhere": True}, as_=ada)
        answers = await asyncio.gather(*(refresh(api, ada.refresh_token) for _ in range(4)), everywhere)
        assert answers[-1].status == 204
        for answer in answers[:-1]:
            if answer.status == 200:
                assert (await refresh(api, answer.body["refresh_token"])).status == 401


async def test_the_end_of_an_account_leaves_only_the_audit_line(api: Api, ada: User, database_url: str) -> None:
    await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)
    wrong = await api.send("DELETE", "/api/v1/auth/me", {"password": "wrong horse 9"}, as_=ada)
    assert (wrong.status, wrong.problem()) == (401, "wrong-email-or-password")
    deleted = await api.send("DELETE", "/api/v1/auth/me", {"password": PASSWORD}, as_=ada)
    assert (deleted.status, deleted.raw) == (204, b"")
    for table, column in (
        ("users", "id"), ("task_clocks", "user_id"), ("tasks", "user_id"), ("refresh_tokens", "user_id"),
    ):  # fmt: skip
        assert await rows(database_url, f"SELECT FROM {table} WHERE {column} = $1", ada.id) == []
    lines = await rows(database_url, "SELECT action, actor_id, request_id FROM audit_log WHERE subject_id = $1", ada.id)
    assert [tuple(line) for line in lines][2:] == [
        ("password_refused", ada.id, wrong.headers["X-Request-ID"]),
        ("account_deleted", ada.id, deleted.headers["X-Request-ID"]),
    ]
    assert (await refresh(api, ada.refresh_token)).status == 401
    await until_refused(api, ada.token)
    again = await api.post("/api/v1/auth/register", {"email": ada.email, "password": PASSWORD})
    assert again.status == 201, "the email is free again"


async def test_the_last_administrator_stays(api: Api, ada: User, bob: User, database_url: str) -> None:
    async with only_administrators(database_url, ada, bob):
        both = [api.send("DELETE", "/api/v1/auth/me", {"password": PASSWORD}, as_=user) for user in (ada, bob)]
        answers = await asyncio.gather(*both)
        assert sorted(answer.status for answer in answers) == [204, 409]
        assert next(answer.problem() for answer in answers if answer.status == 409) == "last-admin"


async def test_another_worker_notices_within_5_seconds(api: Api, ada: User, database_url: str) -> None:
    async with running_service(make_settings(database_url)) as other:
        assert (await other.get("/api/v1/tasks", as_=ada)).status == 200
        await api.post("/api/v1/auth/logout", {"everywhere": True}, as_=ada)
        await until_refused(other, ada.token)
    async with running_service(make_settings(database_url)) as restarted:
        await until_refused(restarted, ada.token)


# The list of sessions.


async def test_a_user_sees_the_sessions_and_ends_one(api: Api, ada: User, bob: User, database_url: str) -> None:
    path, credentials = "/api/v1/auth/sessions", {"email": ada.email, "password": PASSWORD}
    browser = "Mozilla/5.0 (caf\u00e9) " + "x" * 300
    phone = await api.post("/api/v1/auth/login", credentials, headers={"User-Agent": browser})
    await asyncio.sleep(0.01)
    await refresh(api, phone.body["refresh_token"])
    listed = (await api.get(path, as_=ada)).body["sessions"]
    other, own = listed
    assert set(own) == {"id", "created_at", "last_used_at", "expires_at", "user_agent", "current"}
    assert (own["current"], other["current"]) == (True, False)
    assert own["created_at"] == own["last_used_at"] < other["created_at"] < other["last_used_at"] < other["expires_at"]
    assert other["user_agent"] == browser[:255]
    assert (await api.delete(f"{path}/{other['id']}", as_=bob)).status == 404
    assert (await api.delete(f"{path}/nonsense", as_=ada)).status == 404
    assert (await api.delete(f"{path}/{other['id']}", as_=ada)).status == 204
    assert (await refresh(api, phone.body["refresh_token"])).status == 401
    await until_refused(api, phone.body["access_token"])
    assert [entry["id"] for entry in (await api.get(path, as_=ada)).body["sessions"]] == [own["id"]]
    assert (await api.delete(f"{path}/{other['id']}", as_=ada)).status == 404
    acts = await rows(
        database_url, "SELECT detail FROM audit_log WHERE action = 'session_ended' AND actor_id = $1", ada.id
    )
    assert [row["detail"] for row in acts] == [f"session {other['id']}"]
