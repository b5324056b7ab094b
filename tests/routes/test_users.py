"""Administration: what an administrator may do to accounts and to everybody's tasks, and what is written down."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from tests.client import PASSWORD, Api, User
from tests.conftest import run_sql
from tests.process import served
from tests.routes.test_sessions import only_administrators, refresh, rows, sign_in, until_refused
from tests.routes.test_task_lists import next_path


@pytest_asyncio.fixture
async def admin(api: Api, database_url: str) -> AsyncIterator[User]:
    """An administrator; a user again after the test, so that no test has more of them than it knows."""
    user = await api.new_user()
    async with only_administrators(database_url, user):
        signed_in = await sign_in(api, user)
        yield User(user.id, user.email, signed_in["access_token"], signed_in["refresh_token"])


async def audited(database_url: str, subject_id: str) -> list[tuple[Any, ...]]:
    sql = """SELECT action, actor_id, detail FROM audit_log
        WHERE subject_id = $1 AND actor_id NOT IN (subject_id, 'anonymous') AND action NOT LIKE '%_read' ORDER BY id"""
    return [tuple(row) for row in await rows(database_url, sql, subject_id)]


async def test_administration_is_for_administrators(api: Api, ada: User, bob: User) -> None:
    for method, path in (
        ("GET", "/api/v1/users"), ("GET", f"/api/v1/users/{bob.id}"), ("PATCH", f"/api/v1/users/{bob.id}"),
        ("DELETE", f"/api/v1/users/{bob.id}"),
    ):  # fmt: skip
        assert (await api.send(method, path, raw=b"not json")).status == 401
        answer = await api.send(method, path, raw=b"not json", as_=ada)
        assert (answer.status, answer.problem()) == (403, "admin-only")
        assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


async def test_accounts_are_listed_filtered_and_paged(api: Api, admin: User, ada: User) -> None:
    await api.patch("/api/v1/auth/me", {"full_name": "Ada 100%_\\ Lovelace"}, as_=ada)
    listed = await api.get("/api/v1/users?limit=1", as_=admin)
    assert set(listed.body) == {"users", "total", "total_is_estimate", "skip", "limit", "next_cursor"}
    assert listed.headers["X-Total-Count"] == str(listed.body["total"])
    assert f"cursor={listed.body['next_cursor']}" in listed.headers["Link"]
    assert set(listed.body["users"][0]) == {
        "id", "email", "email_verified", "full_name", "role", "is_active", "created_at", "updated_at",
    }  # fmt: skip
    for query, found in (
        (f"q={ada.email.upper()}", True), ("q=100%25_%5C LOVE", True), ("q=nobody-has-this", False),
        (f"q={ada.email}&role=user&is_active=true", True), (f"q={ada.email}&role=admin", False),
        (f"q={ada.email}&is_active=false", False), (f"q={ada.email}&skip=1", False),
    ):  # fmt: skip
        answer = await api.get(f"/api/v1/users?{query}", as_=admin)
        assert [user["id"] for user in answer.body["users"]] == [ada.id] * found, query
    for query in (
        "limit=0", "limit=1001", "skip=-1", "skip=10001", "role=root", "is_active=yes", "q=%00", "q=a&q=b",
        f"q={'a' * 256}", "cursor=nonsense", f"cursor={listed.body['next_cursor']}&skip=1",
        f"cursor={listed.body['next_cursor']}&role=user",
    ):  # fmt: skip
        assert (await api.get(f"/api/v1/users?{query}", as_=admin)).status == 422, query


async def test_users_are_paged_by_cursor(api: Api, admin: User) -> None:
    mark = uuid4().hex
    for n in range(5):
        account = {"email": f"{mark}-{n}@example.com", "password": PASSWORD}
        assert (await api.post("/api/auth/signup", account)).status == 201
    path, seen = f"/api/v1/users?q={mark}&limit=2", []
    while path:
        answer = await api.get(path, as_=admin)
        assert (answer.body["total"], answer.body["total_is_estimate"]) == (5, False)
        seen += [user["email"] for user in answer.body["users"]]
        path = next_path(answer)
    assert seen == [f"{mark}-{n}@example.com" for n in (4, 3, 2, 1, 0)]
    assert answer.body["next_cursor"] is None


async def test_an_account_is_deleted_while_an_administrator_is_locked(
    api: Api, admin: User, ada: User, bob: User, database_url: str
) -> None:
    """Only those who are administrators themselves wait for the others."""
    db = await asyncpg.connect(database_url)
    async with db.transaction():
        await db.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", admin.id)
        own = await api.send("DELETE", "/api/v1/auth/me", {"password": PASSWORD}, as_=ada)
        by_another = await api.delete(f"/api/v1/users/{bob.id}", as_=admin)
    await db.close()
    assert (own.status, by_another.status) == (204, 204)


async def test_an_account_is_read_and_changed(api: Api, admin: User, ada: User, database_url: str) -> None:
    path = f"/api/v1/users/{ada.id}"
    before = (await api.get(path, as_=admin)).body
    assert before["email"] == ada.email
    changed = await api.patch(path, {"fullName": "Ada", "email": "x@example.com", "id": "x"}, as_=admin)
    assert changed.body == before | {"full_name": "Ada", "updated_at": changed.body["updated_at"]}
    assert (await api.get("/api/v1/auth/me", as_=ada)).status == 200, "another name ends no token"
    assert await audited(database_url, ada.id) == [("user_updated", admin.id, "full_name")]
    for body in ({"role": "root"}, {"role": None}, {"is_active": "no"}, {"is_active": None}, {"full_name": "x" * 256}):
        assert (await api.patch(path, body, as_=admin)).status == 422
    for missing in (str(uuid4()), "nobody", "%00", "%0a", "x" * 300):
        for method in ("GET", "PATCH", "DELETE"):
            answer = await api.send(method, f"/api/v1/users/{missing}", {}, as_=admin)
            assert (answer.status, answer.problem()) == (404, "not-found"), missing


async def test_a_deactivation_throws_somebody_out_everywhere(
    api: Api, admin: User, ada: User, database_url: str
) -> None:
    assert (await api.patch(f"/api/v1/users/{ada.id}", {"is_active": False}, as_=admin)).body["is_active"] is False
    assert (await refresh(api, ada.refresh_token)).status == 401
    await until_refused(api, ada.token)
    refused = await api.post("/api/v1/auth/login", {"email": ada.email, "password": PASSWORD})
    assert (refused.status, refused.problem()) == (403, "account-inactive")
    await api.patch(f"/api/v1/users/{ada.id}", {"is_active": True}, as_=admin)
    assert await audited(database_url, ada.id) == [
        ("user_updated", admin.id, "is_active True -> False"),
        ("user_updated", admin.id, "is_active False -> True"),
    ]
    async with asyncio.timeout(5):
        while (await api.get("/api/v1/auth/me", token=(await sign_in(api, ada))["access_token"])).status != 200:
            await asyncio.sleep(0.2)


async def test_another_process_notices_a_deactivation_within_5_seconds(
    api: Api, admin: User, ada: User, database_url: str
) -> None:
    async with served(DATABASE_URL=database_url) as (_, other):
        assert (await other.get("/api/v1/tasks", as_=ada)).status == 200
        await api.patch(f"/api/v1/users/{ada.id}", {"is_active": False}, as_=admin)
        await until_refused(other, ada.token)


async def test_another_role_ends_the_tokens_that_say_the_old_one(api: Api, admin: User, ada: User) -> None:
    await api.patch(f"/api/v1/users/{ada.id}", {"role": "admin"}, as_=admin)
    await until_refused(api, ada.token)
    refreshed = await refresh(api, ada.refresh_token)
    assert refreshed.body["user"]["role"] == "admin"
    token = refreshed.body["access_token"]
    assert (await api.get("/api/v1/users", token=token)).status == 200
    await api.patch(f"/api/v1/users/{ada.id}", {"role": "user"}, as_=admin)
    await until_refused(api, token)


async def test_an_account_is_deleted_with_its_data(api: Api, admin: User, ada: User, database_url: str) -> None:
    await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)
    assert (await api.delete(f"/api/v1/users/{ada.id}", as_=admin)).status == 204
    assert (await api.get(f"/api/v1/users/{ada.id}", as_=admin)).status == 404
    assert await rows(database_url, "SELECT FROM tasks WHERE user_id = $1", ada.id) == []
    assert await audited(database_url, ada.id) == [("account_deleted", admin.id, "")]
    await until_refused(api, ada.token)


@pytest.mark.parametrize("act", ["demote", "deactivate", "delete"])
async def test_of_two_administrators_who_end_each_other_one_stays(
    api: Api, admin: User, ada: User, database_url: str, act: str
) -> None:
    await api.patch(f"/api/v1/users/{ada.id}", {"role": "admin"}, as_=admin)
    other = (await sign_in(api, ada))["access_token"]

    async def end(user: User, token: str) -> int:
        path = f"/api/v1/users/{user.id}"
        if act == "delete":
            return (await api.delete(path, token=token)).status
        body = {"role": "user"} if act == "demote" else {"is_active": False}
        answer = await api.patch(path, body, token=token)
        assert answer.status == 200 or answer.problem() == "last-admin"
        return answer.status

    statuses = await asyncio.gather(end(ada, admin.token), end(admin, other))
    assert sorted(statuses) == [204 if act == "delete" else 200, 409]
    left = await rows(database_url, "SELECT id FROM users WHERE role = 'admin' AND is_active")
    assert len(left) == 1


async def test_a_user_of_an_auth_server_is_no_administrator(api: Api, admin: User, database_url: str) -> None:
    outside = f"outside-{uuid4().hex}"
    await run_sql(database_url, f"INSERT INTO users (id) VALUES ('{outside}')")
    refused = await api.patch(f"/api/v1/users/{outside}", {"role": "admin", "full_name": "x"}, as_=admin)
    assert (refused.status, refused.problem()) == (409, "admin-needs-password")
    assert (await api.get(f"/api/v1/users/{outside}", as_=admin)).body["full_name"] is None
    await run_sql(database_url, f"UPDATE users SET role = 'admin' WHERE id = '{outside}'")  # by an older release
    for change in ({"role": "user"}, {"is_active": False}):
        last = await api.patch(f"/api/v1/users/{admin.id}", change, as_=admin)
        assert (last.status, last.problem()) == (409, "last-admin"), "the other one can never act as one"
    assert (await api.patch(f"/api/v1/users/{outside}", {"role": "user"}, as_=admin)).status == 200


async def test_an_administrator_works_on_anyones_task_in_v1_alone(
    api: Api, admin: User, ada: User, bob: User, database_url: str
) -> None:
    task = (await api.post("/api/v1/tasks", {"title": "ada's"}, as_=ada)).body
    path = f"/api/v1/tasks/{task['id']}"
    assert (await api.get(path, as_=admin)).body == task
    changed = await api.patch(path, {"title": "changed"}, as_=admin)
    assert (changed.body["title"], changed.body["user_id"], changed.body["version"]) == ("changed", ada.id, 2)
    assert (await api.put(path, {"priority": "LOW"}, as_=admin)).body["version"] == 3
    assert (await api.patch(path + "/complete", as_=admin)).body["completed"] is True
    assert (await api.patch(path, {"title": ""}, as_=admin)).status == 422
    for other in (f"/api/tasks/{task['id']}", f"/api/{admin.id}/tasks/{task['id']}"):
        assert (await api.get(other, as_=admin)).status == 404
    assert (await api.get(f"/api/{ada.id}/tasks", as_=admin)).status == 403
    assert (await api.delete(path, as_=admin)).status == 204
    assert (await api.get(path, as_=ada)).status == 404
    assert await audited(database_url, ada.id) == [
        ("task_changed", admin.id, f"{method} {task['id']}") for method in ("PATCH", "PUT", "PATCH", "DELETE")
    ]
    assert (await api.get(path, as_=admin)).status == 404
    assert (await api.get("/api/v1/tasks/not-a-uuid", as_=admin)).status == 404


async def test_the_audit_log_has_a_line_for_each_change_and_for_nothing_else(
    api: Api, admin: User, ada: User, database_url: str
) -> None:
    task = (await api.post("/api/v1/tasks", {"title": "ada's"}, as_=ada)).body
    path = f"/api/v1/tasks/{task['id']}"
    stale = {"If-Match": '"99"'}
    assert (await api.patch(path, {"title": "changed"}, as_=admin, headers=stale)).status == 412
    assert (await api.delete(path, as_=admin, headers=stale)).status == 412
    assert (await api.patch(path, {"title": "ada's"}, as_=admin)).body["version"] == 1, "it changes nothing"
    assert (await api.patch(path, {"title": ""}, as_=admin)).status == 422
    assert (await api.get(path, as_=admin)).status == 200
    assert await audited(database_url, ada.id) == []
    once = {"Idempotency-Key": "toggle"}
    for _ in range(2):
        assert (await api.patch(path + "/complete", as_=admin, headers=once)).body["completed"] is True
    assert await audited(database_url, ada.id) == [("task_changed", admin.id, f"PATCH {task['id']}")]
    assert (await api.patch(path, {"title": "own"}, as_=ada)).status == 200
    assert len(await audited(database_url, ada.id)) == 1, "owners are not audited"


async def test_a_change_and_its_audit_line_are_committed_together(
    api: Api, admin: User, ada: User, database_url: str
) -> None:
    """If the line cannot be written, nothing is changed."""
    task = (await api.post("/api/v1/tasks", {"title": "ada's"}, as_=ada)).body
    path = f"/api/v1/tasks/{task['id']}"
    constraint = f"audit_log_refuses_{ada.id.replace('-', '_')}"
    await rows(
        database_url, f"ALTER TABLE audit_log ADD CONSTRAINT {constraint} CHECK (subject_id <> '{ada.id}') NOT VALID"
    )
    try:
        for method in ("PATCH", "DELETE"):
            assert (await api.send(method, path, {"title": "changed"}, as_=admin)).status == 500
    finally:
        await rows(database_url, f"ALTER TABLE audit_log DROP CONSTRAINT {constraint}")
    assert (await api.get(path, as_=ada)).body == task


async def test_whose_task_an_administrator_means_may_be_nobodys(api: Api, admin: User, ada: User) -> None:
    mine = (await api.post("/api/v1/tasks", {"title": "the admin's"}, as_=admin)).body
    path = f"/api/v1/tasks/{mine['id']}"
    for user_id in (ada.id, "nobody", "", "%00", "x" * 256):
        for method in ("GET", "PATCH", "DELETE"):
            answer = await api.send(method, f"{path}?user_id={user_id}", {"title": "t"}, as_=admin)
            assert (answer.status, answer.problem()) == (404, "not-found"), (method, user_id)
    assert (await api.get(path, as_=admin)).body == mine


async def test_a_wrong_body_comes_before_the_ambiguous_task(api: Api, admin: User, ada: User, bob: User) -> None:
    task = {"id": str(uuid4()), "title": "t"}
    for user in (ada, bob):
        await api.post("/api/v1/tasks", task, as_=user)
    path = f"/api/v1/tasks/{task['id']}"
    assert (await api.patch(path, {"title": ""}, as_=admin)).status == 422
    assert (await api.send("PATCH", path, raw=b"{", as_=admin)).status == 400
    assert (await api.patch(path, {"title": "u"}, as_=admin)).status == 409


async def test_an_administrators_retry_after_a_deletion_is_404(api: Api, admin: User, ada: User) -> None:
    task = (await api.post("/api/v1/tasks", {"title": "t"}, as_=ada)).body
    path, key = f"/api/v1/tasks/{task['id']}", {"Idempotency-Key": uuid4().hex}
    assert (await api.patch(f"{path}/complete", as_=admin, headers=key)).status == 200
    assert (await api.patch(f"{path}/complete", as_=admin, headers=key)).status == 200
    await api.delete(path, as_=ada)
    again = await api.patch(f"{path}/complete", as_=admin, headers=key)
    assert (again.status, again.problem()) == (404, "not-found")


async def test_an_administrator_lists_everybodys_tasks_in_v1_alone(api: Api, admin: User, ada: User, bob: User) -> None:
    tasks = [(await api.post("/api/v1/tasks", {"title": "t"}, as_=user)).body for user in (ada, bob)]
    everybodys = (await api.get("/api/v1/tasks?limit=2", as_=admin)).body
    assert everybodys["tasks"] == tasks[::-1]
    assert everybodys["total"] >= 2
    one = (await api.get(f"/api/v1/tasks?user_id={ada.id}", as_=admin)).body
    assert (one["tasks"], one["total"]) == ([tasks[0]], 1)
    assert (await api.get("/api/v1/tasks?user_id=nobody", as_=admin)).body["total"] == 0
    assert (await api.get("/api/tasks", as_=admin)).body == []
    widened = (await api.get(f"/api/v1/tasks?user_id={bob.id}", as_=ada)).body
    assert widened["tasks"] == [tasks[0]], "it counts for administrators only"


async def test_an_id_that_several_users_chose_needs_a_name(api: Api, admin: User, ada: User, bob: User) -> None:
    task = {"id": str(uuid4()), "title": "t"}
    for user in (ada, bob):
        await api.post("/api/v1/tasks", task, as_=user)
    path = f"/api/v1/tasks/{task['id']}"
    ambiguous = await api.get(path, as_=admin)
    assert (ambiguous.status, ambiguous.problem()) == (409, "ambiguous-task")
    assert (await api.get(f"{path}?user_id={bob.id}", as_=admin)).body["user_id"] == bob.id
    assert (await api.get(f"{path}?user_id=nobody", as_=admin)).status == 404
    await api.post("/api/v1/tasks", task, as_=admin)
    assert (await api.get(path, as_=admin)).body["user_id"] == admin.id, "one's own comes first"
