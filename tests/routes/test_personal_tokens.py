"""Personal access tokens: what each may do, how it ends, and how it is shown."""

import asyncio
import json
import re
import zlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.auth_server import SHARED_SECRET, shared
from tests.client import PASSWORD, Answer, Api, User
from tests.commands.test_users import run
from tests.conftest import make_settings, run_sql, running_service
from tests.routes.test_sessions import only_administrators, rows, sign_in, until_refused
from tests.routes.test_table import concrete
from tests.rows import private_rows
from todo_service.auth import personal_tokens
from todo_service.auth.personal_tokens import ALPHABET, checksum

TOKENS = "/api/v1/auth/tokens"
SCOPES = ["tasks:read", "tasks:write", "tasks:delete", "account:read"]
SERVICE_TOKEN = "a-service-for-tests-0123456789-abcdef"


async def make(api: Api, user: User, *scopes: str, **more: object) -> str:
    answer = await api.post(TOKENS, {"name": "agent", "scopes": [*(scopes or SCOPES)], **more}, as_=user)
    assert answer.status == 201, answer.raw
    return str(answer.body["token"])


async def id_of(api: Api, user: User, token: str) -> str:
    tokens = (await api.get(TOKENS, as_=user)).body["tokens"]
    return str(next(entry["id"] for entry in tokens if entry["last_four"] == token[-4:]))


async def test_a_token_is_shown_once_and_listed_without_its_secret(api: Api, ada: User, database_url: str) -> None:
    sent = {"name": " morning report ", "scopes": ["tasks:read", "tasks:read"], "expires_in_days": 30}
    made = await api.post(TOKENS, sent, as_=ada)
    assert (made.status, made.headers["Cache-Control"]) == (201, "no-store")
    token = made.body.pop("token")
    body = {name: value for name, value in made.body.items() if name != "token"}
    assert re.fullmatch("todo_pat_[0-9A-Za-z]{38}", token)
    assert (body["name"], body["scopes"], body["strict"]) == ("morning report", ["tasks:read"], False)
    assert (body["last_four"], body["last_used_at"]) == (token[-4:], None)
    made_at, expires_at = (datetime.fromisoformat(body[name]) for name in ("created_at", "expires_at"))
    assert expires_at - made_at == pytest.approx(timedelta(days=30), abs=timedelta(seconds=5))
    listed = await api.get(TOKENS, as_=ada)
    assert listed.body == {"tokens": [body]}
    stored = await rows(
        database_url, "SELECT row_to_json(t)::text FROM personal_tokens AS t WHERE user_id = $1", ada.id
    )
    assert token[9:] not in stored[0][0]


async def test_the_checksum_is_a_crc32_in_base62(api: Api, ada: User) -> None:
    token = await make(api, ada)
    secret, check = token[9:-6], token[-6:]
    number = 0
    for letter in check:
        number = number * 62 + "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(letter)
    assert (number, len(secret)) == (zlib.crc32(secret.encode()), 32)


NEEDED = {
    **{("GET", path): "tasks:read" for path in ("/api/v1/sync", "/api/v1/export", "/api/v1/events")},
    ("POST", "/api/v1/import"): "tasks:write",
    ("POST", "/api/v1/events/ticket"): "tasks:read",
    ("POST", "/api/v1/tasks/batch"): "tasks:write",
    ("POST", "/api/v1/undo"): "tasks:write",
    ("POST", "/api/v1/tasks/{task_id}/restore"): "tasks:write",
    ("GET", "/api/v1/tasks/{task_id}/history"): "tasks:read",
    ("GET", "/api/v1/trash"): "tasks:read",
    **{("GET", path): "account:read" for path in ("/api/v1/auth/me", "/api/auth/me", "/api/auth/verify")},
}
for prefix in ("/api/v1", "/api", "/api/{user_id}", "/api/users/{user_id}"):
    tasks, one = f"{prefix}/tasks", f"{prefix}/tasks/{{task_id}}"
    NEEDED |= {
        ("GET", tasks): "tasks:read", ("POST", tasks): "tasks:write", ("GET", one): "tasks:read",
        ("PUT", one): "tasks:write", ("PATCH", one): "tasks:write", ("PATCH", f"{one}/complete"): "tasks:write",
        ("DELETE", one): "tasks:delete",
    }  # fmt: skip


@pytest.mark.parametrize("scope", SCOPES)
async def test_every_route_is_open_to_its_scope_alone(api: Api, ada: User, scope: str) -> None:
    """Walks the router: a route that states no scope refuses every token."""
    token = await make(api, ada, scope)
    walked = set()
    for route in private_rows():
        walked.add((route.method, route.path))
        needed = NEEDED.get((route.method, route.path))
        answer = await api.send(route.method, concrete(route, ada), raw=b"{}", token=token)
        if scope == needed or (scope == "tasks:delete" and route.path.endswith(("/batch", "/undo"))):
            assert answer.status in {200, 201, 204, 400, 404, 415, 422}, (route.path, answer.raw)
            continue
        assert (answer.status, answer.problem()) == (403, "insufficient-scope"), route
        challenge = answer.headers["WWW-Authenticate"]
        assert 'error="insufficient_scope"' in challenge
        assert ("scope=" in challenge) == (needed is not None)
        if needed is not None:
            assert needed in challenge
            assert needed in answer.body["detail"]
    assert walked >= NEEDED.keys()


async def test_an_administrators_token_is_no_administrator(api: Api, ada: User, bob: User, database_url: str) -> None:
    task = (await api.post("/api/v1/tasks", {"title": "bob's"}, as_=bob)).body
    async with only_administrators(database_url, ada):
        admin = User(ada.id, ada.email, (await sign_in(api, ada))["access_token"])
        token = await make(api, admin)
        assert (await api.get(f"/api/v1/tasks/{task['id']}", as_=admin)).status == 200
        assert (await api.get(f"/api/v1/tasks/{task['id']}", token=token)).status == 404
        assert (await api.get("/api/v1/tasks", token=token)).body["total"] == 0
        assert (await api.get("/api/v1/users", token=token)).problem() == "insufficient-scope"
        assert (await api.get(f"/api/{bob.id}/tasks", token=token)).problem() == "forbidden"


async def test_each_operation_of_a_batch_needs_its_scope(api: Api, ada: User) -> None:
    task = (await api.post("/api/v1/tasks", {"title": "stays"}, as_=ada)).body
    writer, remover = await make(api, ada, "tasks:write"), await make(api, ada, "tasks:delete")
    create: dict[str, object] = {"op": "create", "task": {"title": "new"}}
    delete: dict[str, object] = {"op": "delete", "id": task["id"]}

    async def batch(token: str, *operations: dict[str, object]) -> Answer:
        return await api.post("/api/v1/tasks/batch", {"operations": [*operations]}, token=token)

    refused = await batch(writer, create, delete)
    assert (refused.status, refused.problem(), refused.body["index"]) == (403, "insufficient-scope", 1)
    assert 'scope="tasks:delete"' in refused.headers["WWW-Authenticate"]
    refused = await batch(remover, delete, create)
    assert (refused.problem(), refused.body["index"]) == ("insufficient-scope", 1)
    assert (await api.get("/api/v1/tasks", as_=ada)).body["total"] == 1
    assert (await batch(remover, delete)).status == 200
    assert (await batch(writer, create)).status == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: token + "0",
        lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
        lambda token: token[:12] + ("0" if token[12] != "0" else "1") + token[13:],
        lambda token: token.replace("todo_pat_", "todo_pat-"),
        lambda token: token.upper(),
        lambda token: "todo_pat_",
        lambda token: "todo_pat_" + "é" * 38,
    ],
)
async def test_a_malformed_token_is_401_without_a_query(
    api: Api, ada: User, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await make(api, ada)
    looked_up: list[object] = []
    monkeypatch.setattr("todo_service.queries.personal_tokens.select_by_hash", lambda *_, **__: looked_up.append(1))
    answer = await api.get("/api/v1/tasks", headers={"Authorization": f"Bearer {change(token)}"})
    assert (answer.status, answer.problem()) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="todo-service", error="invalid_token"'
    assert not looked_up


async def test_an_unknown_and_an_expired_token_are_401(api: Api, ada: User, database_url: str) -> None:
    secret = ALPHABET[:32]
    assert (await api.get("/api/v1/tasks", token=f"todo_pat_{secret}{checksum(secret)}")).problem() == "unauthenticated"
    token = await make(api, ada)
    await run_sql(database_url, f"UPDATE personal_tokens SET expires_at = now() WHERE user_id = '{ada.id}'")
    answer = await api.get("/api/v1/tasks", token=token)
    assert (answer.status, "expired" in answer.body["detail"]) == (401, True)


async def test_a_remembered_token_expires_in_time(api: Api, ada: User, database_url: str) -> None:
    token = await make(api, ada)
    await run_sql(
        database_url,
        f"UPDATE personal_tokens SET expires_at = now() + interval '2 s' WHERE user_id = '{ada.id}'",
    )
    assert (await api.get("/api/v1/tasks", token=token)).status == 200
    await until_refused(api, token)


async def test_a_token_seen_before_costs_no_query(api: Api, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await make(api, ada)
    assert (await api.get("/api/v1/tasks", token=token)).status == 200
    monkeypatch.setattr("todo_service.queries.personal_tokens.select_by_hash", None)
    assert (await api.get("/api/v1/tasks", token=token)).status == 200


async def test_requests_with_a_token_are_marked(
    database_url: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_service(make_settings(database_url)) as own:
        ada = await own.new_user()
        token = await make(own, ada)
        token_id = await id_of(own, ada, token)
        capfd.readouterr()
        assert (await own.post("/api/v1/tasks", {"title": "t"}, token=token)).status == 201
        lines = [line for line in "".join(capfd.readouterr()).splitlines() if token_id in line]
        assert len(lines) == 2, "of the change and of the request"
        assert all(f"source={token_id}" in line for line in lines)
        assert "caller=token" in "".join(lines)
        assert token not in "".join(lines)
        metrics = (await own.get("/metrics")).raw.decode()
        assert 'todo_authenticated_requests_total{caller="token"} 1.0' in metrics


async def test_an_ended_token_is_refused_by_every_worker(api: Api, ada: User, bob: User, database_url: str) -> None:
    token, other = await make(api, ada), await make(api, ada)
    token_id = await id_of(api, ada, token)
    async with running_service(make_settings(database_url)) as second:
        for worker in (api, second):
            assert (await worker.get("/api/v1/tasks", token=token)).status == 200
        assert (await api.delete(f"{TOKENS}/{token_id}", as_=bob)).status == 404
        assert (await api.delete(f"{TOKENS}/{token_id}", as_=ada)).status == 204
        for worker in (api, second):
            await until_refused(worker, token)
            assert (await worker.get("/api/v1/tasks", token=other)).status == 200
    assert (await api.delete(f"{TOKENS}/{token_id}", as_=ada)).status == 404
    assert (await api.delete(f"{TOKENS}/no-id", as_=ada)).status == 404
    acts = await rows(
        database_url, "SELECT action, detail FROM audit_log WHERE subject_id = $1 AND action LIKE 'personal%'", ada.id
    )
    assert [row["action"] for row in acts] == ["personal_token_created"] * 2 + ["personal_token_ended"]
    assert token_id in acts[-1]["detail"]


async def test_deactivation_and_deletion_end_the_tokens(api: Api, ada: User, bob: User, database_url: str) -> None:
    tokens = [await make(api, user) for user in (ada, bob)]
    for token in tokens:
        assert (await api.get("/api/v1/tasks", token=token)).status == 200
    boss = await api.new_user()
    async with only_administrators(database_url, boss):
        admin = User(boss.id, boss.email, (await sign_in(api, boss))["access_token"])
        assert (await api.patch(f"/api/v1/users/{ada.id}", {"is_active": False}, as_=admin)).status == 200
    assert (await api.send("DELETE", "/api/v1/auth/me", {"password": PASSWORD}, as_=bob)).status == 204
    for token in tokens:
        await until_refused(api, token)
    assert not await rows(database_url, "SELECT FROM personal_tokens WHERE user_id = $1", bob.id)


async def test_an_access_token_that_has_just_ended_makes_none(api: Api, ada: User, database_url: str) -> None:
    """The feed of revocations may be seconds behind; the row is not."""
    assert (await api.get("/api/v1/tasks", as_=ada)).status == 200
    await run_sql(database_url, f"UPDATE users SET generation = generation + 1 WHERE id = '{ada.id}'")
    refused = await api.post(TOKENS, {"name": "n", "scopes": ["tasks:read"]}, as_=ada)
    assert (refused.status, refused.problem()) == (401, "unauthenticated")


async def test_the_operator_ends_the_tokens_with_the_sessions(api: Api, ada: User, database_url: str) -> None:
    token = await make(api, ada)
    assert (await api.get("/api/v1/tasks", token=token)).status == 200
    assert (await run("users", "revoke-sessions", ada.id, DATABASE_URL=database_url)).returncode == 0
    await until_refused(api, token)
    assert not await rows(database_url, "SELECT FROM personal_tokens WHERE user_id = $1", ada.id)


async def test_another_password_leaves_the_tokens(api: Api, ada: User) -> None:
    token = await make(api, ada)
    await api.post("/api/v1/auth/password", {"current_password": PASSWORD, "new_password": "another horse 10"}, as_=ada)
    await until_refused(api, ada.token)
    assert (await api.get("/api/v1/tasks", token=token)).status == 200


async def test_the_last_use_is_recorded_apart_from_the_requests(
    api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(personal_tokens, "FLUSH_SECONDS", 0.2)
    async with running_service(make_settings(database_url)) as quick:
        ada = await quick.new_user()
        token = await make(quick, ada)
        before = datetime.now().astimezone()
        assert (await quick.get("/api/v1/tasks", token=token)).status == 200
        async with asyncio.timeout(5):
            while (used := (await quick.get(TOKENS, as_=ada)).body["tokens"][0]["last_used_at"]) is None:
                await asyncio.sleep(0.05)
        assert datetime.fromisoformat(used) >= before - timedelta(seconds=1)
    async with running_service(make_settings(database_url)) as ending:
        first = datetime.fromisoformat(used)
        assert (await ending.get("/api/v1/tasks", token=token)).status == 200
    last = (await api.get(TOKENS, as_=ada)).body["tokens"][0]["last_used_at"]
    assert datetime.fromisoformat(last) > first


async def test_fifty_tokens_are_the_most(api: Api, ada: User, database_url: str) -> None:
    answers = await asyncio.gather(
        *(api.post(TOKENS, {"name": str(number), "scopes": ["tasks:read"]}, as_=ada) for number in range(55))
    )
    assert sorted(answer.status for answer in answers) == [201] * 50 + [403] * 5
    assert {answer.problem() for answer in answers if answer.status == 403} == {"quota-exceeded"}
    await run_sql(
        database_url, f"UPDATE personal_tokens SET expires_at = now() WHERE name = '7' AND user_id = '{ada.id}'"
    )
    await make(api, ada)  # an expired one does not count


@pytest.mark.parametrize(
    ("body", "failing"),
    [
        ({}, {"name": "missing", "scopes": "missing"}),
        ({"name": "", "scopes": ["tasks:read"]}, {"name": "string_too_short"}),
        ({"name": " ", "scopes": ["tasks:read"]}, {"name": "string_too_short"}),
        ({"name": "n" * 256, "scopes": ["tasks:read"]}, {"name": "string_too_long"}),
        ({"name": "n", "scopes": []}, {"scopes": "too_short"}),
        ({"name": "n", "scopes": ["tasks:all"]}, {"scopes[0]": "literal_error"}),
        ({"name": "n", "scopes": ["keys:read"]}, {"scopes[0]": "literal_error"}),
        ({"name": "n", "scopes": "tasks:read"}, {"scopes": "list_type"}),
        ({"name": "n", "scopes": ["tasks:read"], "expires_in_days": 0}, {"expires_in_days": "greater_than_equal"}),
        ({"name": "n", "scopes": ["tasks:read"], "expires_in_days": 10_000}, {"expires_in_days": "less_than_equal"}),
        ({"name": "n", "scopes": ["tasks:read"], "expires_in_days": "9"}, {"expires_in_days": "int_type"}),
        ({"name": "n", "scopes": ["tasks:read"], "strict": 1}, {"strict": "bool_type"}),
    ],
)
async def test_what_a_token_cannot_be(api: Api, ada: User, body: dict[str, Any], failing: dict[str, str]) -> None:
    answer = await api.post(TOKENS, body, as_=ada)
    assert (answer.status, answer.failing()) == (422, failing)


async def test_a_strict_token_is_always_strict(api: Api, ada: User) -> None:
    strict, lenient = await make(api, ada, strict=True), await make(api, ada)
    body = {"title": "t", "due": "2027-01-01"}
    assert (await api.post("/api/v1/tasks", body, token=lenient)).status == 201
    refused = await api.post("/api/v1/tasks", body, token=strict)
    assert (refused.status, refused.failing()) == (422, {"due": "unknown"})
    assert (await api.get("/api/v1/tasks?colour=red", token=strict)).status == 422
    assert (await api.post("/api/v1/tasks", {"title": "t"}, token=strict)).status == 201


async def test_a_user_from_elsewhere_makes_tokens_too(database_url: str) -> None:
    settings = make_settings(database_url, better_auth_secret=SHARED_SECRET, service_auth_token=SERVICE_TOKEN)
    async with running_service(settings) as api:
        user = User(uuid4().hex, "", "")
        outside = User(user.id, "", shared(sub=user.id))
        token = await make(api, outside)
        assert (await api.post("/api/v1/tasks", {"title": "t"}, token=token)).status == 201
        assert (await api.get("/api/v1/tasks", as_=outside)).body["total"] == 1
        await run_sql(database_url, f"UPDATE users SET is_active = false, revoked_at = now() WHERE id = '{user.id}'")
        await until_refused(api, token)
        service = {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": uuid4().hex}
        refused = await api.post(TOKENS, {"name": "n", "scopes": ["tasks:read"]}, headers=service)
        assert (refused.status, refused.problem()) == (403, "insufficient-scope")


@pytest_asyncio.fixture
async def limited_service(database_url: str) -> AsyncIterator[Api]:
    """A service beside it may read tasks and users' API keys."""
    scopes = ("tasks:read", "keys:read")
    settings = make_settings(database_url, service_auth_token=SERVICE_TOKEN, service_auth_scopes=scopes)
    async with running_service(settings) as running:
        yield running


async def test_a_service_can_be_limited_to_scopes(limited_service: Api) -> None:
    ada = await limited_service.new_user()
    for_ada = {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": ada.id}
    for method, path, status in (
        ("GET", "/api/v1/tasks", 200), ("POST", "/api/v1/tasks", 403), ("GET", "/api/user-api-keys/current", 200),
        ("POST", "/api/user-api-keys", 403), ("DELETE", "/api/user-api-keys/current", 403),
        ("GET", "/api/v1/auth/me", 403),
    ):  # fmt: skip
        raw = json.dumps({"title": "t"}).encode() if method == "POST" else None
        answer = await limited_service.send(method, path, raw=raw, headers=for_ada)
        assert answer.status == status, (path, answer.raw)
        if status == 403:
            assert answer.problem() == "insufficient-scope"
    assert (await limited_service.post("/api/v1/tasks", {"title": "t"}, as_=ada)).status == 201
