"""Z1 to Z9: who reaches what, and what no body can set."""

import asyncio
import json
from uuid import uuid4

import asyncpg
import pytest

from tests.attacks.conftest import SERVICE_TOKEN
from tests.attacks.raw import ask, post
from tests.client import PASSWORD, Api, User
from tests.conftest import as_serving_role, run_sql
from tests.routes.test_sessions import rows, sign_in, until_refused
from tests.rows import path_of, private_rows
from todo_service.auth.access import Access

TASKS = "/api/v1/tasks"


async def test_z1_the_matrix_of_callers_and_routes(service: Api, eve: User, victim: User, root: User) -> None:
    """No caller gets 2xx beyond the row; wrong ids are 404 for all."""
    task = (await service.post(TASKS, {"title": "t"}, as_=victim)).body
    doomed = await service.new_user()
    callers = {
        "eve": [("Authorization", f"Bearer {eve.token}")],
        "service": [("X-Service-Auth", SERVICE_TOKEN), ("X-User-ID", eve.id)],
    }
    for row in private_rows():
        if row.path.endswith(("/auth/me", "/password", "/events")):  # the end of an account; a stream without an end
            continue
        for task_id in (task["id"], str(uuid4()), "not-a-uuid"):
            path = path_of(row.path, victim.id, task_id=task_id, account_id=doomed.id)
            for kind, headers in callers.items():
                reply = await ask(service, row.method, path, headers, b"" if row.method in {"GET", "DELETE"} else b"{}")
                if row.access is Access.ADMIN or "{user_id}" in row.path:
                    assert reply.status == 403, (kind, row.path)
                elif "{task_id}" in row.path:
                    assert reply.status in {404, 422, 400}, (kind, row.path)
                assert reply.status < 500
    assert (await service.get(f"{TASKS}/{task['id']}", as_=victim)).body == task
    assert (await service.get(f"/api/v1/users/{doomed.id}", as_=root)).status == 200


async def test_z2_the_task_of_another_is_like_a_missing_one(service: Api, eve: User, victim: User) -> None:
    task = (await service.post(TASKS, {"title": "t"}, as_=victim)).body
    for method, tail, body in (
        ("GET", "", b""), ("PUT", "", b'{"title":"x"}'), ("PATCH", "", b'{"title":"x"}'), ("DELETE", "", b""),
        ("PATCH", "/complete", b""), ("PATCH", "/complete", b'{"completed":true}'),
    ):  # fmt: skip
        there, missing = [
            await ask(service, method, f"{TASKS}/{task_id}{tail}", body=body, as_=eve)
            for task_id in (task["id"], uuid4())
        ]
        assert (there.status, missing.status) == (404, 404)
        documents = [
            {name: value for name, value in reply.json.items() if name != "request_id"} for reply in (there, missing)
        ]
        assert documents[0] == documents[1]
    assert (await service.get(f"{TASKS}/{task['id']}", as_=victim)).body == task


async def test_z3_a_deleted_task_never_comes_back(service: Api, eve: User) -> None:
    for _ in range(20):
        task = (await service.post(TASKS, {"title": "t"}, as_=eve)).body
        path = f"{TASKS}/{task['id']}"
        writes = [service.patch(path, {"title": f"u{n}"}, as_=eve) for n in range(3)]
        deleted, *others = await asyncio.gather(service.delete(path, as_=eve), *writes)
        assert deleted.status == 204
        assert {other.status for other in others} <= {200, 404}
        assert (await service.get(path, as_=eve)).status == 404


async def test_z4_fields_that_a_client_may_not_set(service: Api, eve: User, victim: User) -> None:
    forbidden = {
        "user_id": victim.id, "owner_id": victim.id, "userId": victim.id, "created_at": "2000-01-01T00:00:00Z",
        "version": 99, "role": "admin", "is_active": False, "completed_at": "2000-01-01T00:00:00Z",
    }  # fmt: skip
    made = (await post(service, TASKS, {"title": "x"} | forbidden, as_=eve)).json
    changed = await ask(
        service, "PATCH", f"{TASKS}/{made['id']}", body=json.dumps({"title": "y"} | forbidden).encode(), as_=eve
    )
    for task in (made, changed.json):
        assert (task["user_id"], task["completed_at"]) == (eve.id, None)
        assert task["created_at"] > "2020"
        assert task["version"] < 99
    account = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "role": "admin", "id": victim.id}
    registered = (await post(service, "/api/v1/auth/register", account)).json
    assert (registered["role"], registered["id"] != victim.id) == ("user", True)
    me = await ask(
        service, "PATCH", "/api/v1/auth/me", body=json.dumps(forbidden | {"full_name": "E"}).encode(), as_=eve
    )
    assert (me.json["role"], me.json["id"]) == ("user", eve.id)


async def test_z5_nothing_internal_in_answers(service: Api, eve: User, victim: User, root: User) -> None:
    for path in ("/api/v1/auth/me", f"/api/v1/users/{victim.id}", TASKS, "/api/v1/audit", "/api/v1/users"):
        text = (await ask(service, "GET", path, as_=root)).body.decode()
        for word in ("password", "$2b$", "hash", "generation", "email_key", "ciphertext"):
            assert word not in text.replace("password_changed", "").replace("password_refused", "").replace(
                "wrong password", ""
            ).replace("password_set", ""), (path, word)
    assert victim.email not in (await ask(service, "GET", "/api/v1/auth/me", as_=eve)).body.decode()


async def test_z6_administrators_come_and_go(service: Api, root: User) -> None:
    last = await ask(service, "PATCH", f"/api/v1/users/{root.id}", body=b'{"role":"user"}', as_=root)
    assert (last.status, last.problem()) == (409, "last-admin")
    for own in ("DELETE",):
        assert (await ask(service, own, f"/api/v1/users/{root.id}", as_=root)).status == 409
    other = await service.new_user()
    await service.patch(f"/api/v1/users/{other.id}", {"role": "admin"}, as_=root)
    token = (await sign_in(service, other))["access_token"]
    await service.patch(f"/api/v1/users/{other.id}", {"role": "user"}, as_=root)
    await until_refused(service, token)


async def test_z7_no_parameter_widens_a_list(service: Api, eve: User, victim: User) -> None:
    for title in ("one", "two"):
        await service.post(TASKS, {"title": f"the victim's {title}"}, as_=victim)
    cursor = (await service.get(f"{TASKS}?limit=1", as_=victim)).body["next_cursor"]
    for query in (
        f"user_id={victim.id}", f"userId={victim.id}", f"owner={victim.id}", f"owner_id={victim.id}",
        f"cursor={cursor}",
        "q=%25", "tag=%2A", f"user_id={victim.id}&user_id={eve.id}",
    ):  # fmt: skip
        for path in (TASKS, "/api/tasks", f"/api/{eve.id}/tasks", f"/api/users/{eve.id}/tasks", "/api/v1/sync"):
            reply = await ask(service, "GET", f"{path}?{query}", as_=eve)
            assert reply.status in {200, 400, 422, 410}
            assert b"the victim's" not in reply.body, (path, query)


async def test_z8_a_deleted_account_leaves_nothing(service: Api, database_url: str) -> None:
    gone = await service.new_user()
    await service.post(TASKS, {"title": "t"}, as_=gone, headers={"Idempotency-Key": "one"})
    assert (await service.send("DELETE", "/api/v1/auth/me", {"password": PASSWORD}, as_=gone)).status == 204
    for table in ("tasks", "task_clocks", "task_changes", "idempotency_keys", "refresh_tokens", "user_api_keys"):
        assert await rows(database_url, f"SELECT FROM {table} WHERE user_id = $1", gone.id) == []
    await until_refused(service, gone.token)
    again = {"email": gone.email, "password": PASSWORD}
    assert (await post(service, "/api/v1/auth/register", again)).status == 201


@pytest.mark.parametrize("statement", ["DROP TABLE tasks", "CREATE TABLE x (y int)", "DELETE FROM audit_log"])
async def test_z9_the_role_that_serves(database_url: str, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run_sql(as_serving_role(database_url), statement)
