"""The past of tasks: history, trash, restoration, undo, and forgetting it."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.client import Api, User
from tests.conftest import as_serving_role, make_settings, running_service
from tests.routes.test_users import admin as admin

ONE_DAY = {"since": "2026-01-01T00:00:00Z"}


async def create(api: Api, user: User, title: str = "plan", **fields: Any) -> dict[str, Any]:
    reply = await api.post("/api/v1/tasks", {"title": title, **fields}, as_=user)
    assert reply.status == 201
    task: dict[str, Any] = reply.body
    return task


def path(task: dict[str, Any], rest: str = "") -> str:
    return f"/api/v1/tasks/{task['id']}{rest}"


async def changes_of(api: Api, user: User, task: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    reply = await api.get(path(task, f"/history{query}"), as_=user)
    assert reply.status == 200
    changes: list[dict[str, Any]] = reply.body["changes"]
    return changes


async def test_every_change_is_in_the_history_with_the_task_before_it(api: Api, ada: User) -> None:
    task = await create(api, ada, tags=["a"], due_date="2026-12-24")
    changed = (await api.patch(path(task), {"title": "party"}, as_=ada)).body
    done = (await api.patch(path(task, "/complete"), {"completed": True}, as_=ada)).body
    await api.delete(path(task), as_=ada)
    restored = (await api.post(path(task, "/restore"), as_=ada)).body
    changes = await changes_of(api, ada, task)
    assert [change["operation"] for change in changes] == ["restore", "delete", "complete", "update", "create"]
    assert [change["before"] for change in changes] == [None, done, changed, task, None]
    assert [change["version"] for change in changes] == [5, 4, 3, 2, 1]
    assert {change["actor_id"] for change in changes} == {ada.id}
    assert len({change["source"] for change in changes}) == 1
    assert len({change["request_id"] for change in changes}) == 5
    same = {"title", "tags", "due_date", "status", "completed_at", "created_at", "description", "priority"}
    assert {name: restored[name] for name in same} == {name: done[name] for name in same}
    assert restored["version"] == 5


async def test_what_changes_nothing_is_no_change(api: Api, ada: User) -> None:
    task = await create(api, ada)
    await api.patch(path(task), {"title": "plan"}, as_=ada)
    assert len(await changes_of(api, ada, task)) == 1


async def test_pages_of_a_history(api: Api, ada: User) -> None:
    task = await create(api, ada)
    other = await create(api, ada)
    for number in range(6):
        await api.patch(path(task), {"title": f"plan {number}"}, as_=ada)
        await api.patch(path(other), {"title": f"plan {number}"}, as_=ada)
    whole = await changes_of(api, ada, task)
    assert len(whole) == 7
    page = (await api.get(path(task, "/history?limit=3"), as_=ada)).body
    seen = page["changes"]
    while page["next_cursor"]:
        page = (await api.get(path(task, f"/history?limit=3&cursor={page['next_cursor']}"), as_=ada)).body
        seen += page["changes"]
    assert seen == whole
    assert (await api.get(path(other, f"/history?cursor={whole[2]['version']}"), as_=ada)).body["changes"] == []


async def test_the_history_is_the_owners_alone(api: Api, ada: User, bob: User) -> None:
    task = await create(api, ada)
    gone = await create(api, ada)
    await api.delete(path(gone), as_=ada)
    for one in (task, gone):
        assert (await api.get(path(one, "/history"), as_=bob)).status == 404
        assert (await api.post(path(one, "/restore"), as_=bob)).status == 404
    assert (await api.get("/api/v1/trash", as_=bob)).body == {"tasks": [], "next_cursor": None}
    assert (await api.post("/api/v1/undo", {"to_version": 0}, as_=bob)).body == {"changes": [], "skipped": []}
    assert (await api.get(f"/api/v1/tasks/{uuid4()}/history", as_=ada)).status == 404
    assert (await api.get("/api/v1/tasks/nonsense/history", as_=ada)).status == 404


async def test_the_trash_has_what_can_be_restored(api: Api, ada: User) -> None:
    tasks = [await create(api, ada, f"task {number}") for number in range(5)]
    for task in tasks:
        await api.delete(path(task), as_=ada)
    await api.post(path(tasks[1], "/restore"), as_=ada)
    await api.post("/api/v1/tasks", {"id": tasks[2]["id"], "title": "made again"}, as_=ada)
    await api.post(path(tasks[3], "/restore"), as_=ada)
    await api.delete(path(tasks[3]), as_=ada)
    page = (await api.get("/api/v1/trash", as_=ada)).body
    assert [one["task"]["title"] for one in page["tasks"]] == ["task 3", "task 4", "task 0"]
    assert {one["actor_id"] for one in page["tasks"]} == {ada.id}
    first = (await api.get("/api/v1/trash?limit=2", as_=ada)).body
    rest = (await api.get(f"/api/v1/trash?limit=2&cursor={first['next_cursor']}", as_=ada)).body
    assert (first["tasks"] + rest["tasks"], rest["next_cursor"]) == (page["tasks"], None)


async def test_a_restored_task_is_a_change_like_any_other(api: Api, ada: User) -> None:
    task = await create(api, ada)
    await api.delete(path(task), as_=ada)
    cursor = (await api.get("/api/v1/sync", as_=ada)).body["cursor"]
    reply = await api.post(path(task, "/restore"), as_=ada)
    assert (reply.status, reply.headers["ETag"]) == (200, '"3"')
    page = (await api.get(f"/api/v1/sync?cursor={cursor}", as_=ada)).body
    assert page["changes"] == [{"id": task["id"], "deleted": False, "task": reply.body}]
    assert (await api.get("/api/v1/tasks", as_=ada)).body["total"] == 1
    again = await api.post(path(task, "/restore"), as_=ada)
    assert (again.status, again.body) == (200, reply.body), "as it is: a repeated request is harmless"


async def test_a_restoration_over_the_quota_changes_nothing(database_url: str) -> None:
    async with running_service(make_settings(as_serving_role(database_url), max_tasks_per_user=2)) as api:
        ada = await api.new_user()
        tasks = [await create(api, ada, f"task {number}") for number in range(2)]
        request_id = (await api.delete(path(tasks[0]), as_=ada)).headers["X-Request-ID"]
        await create(api, ada)
        for reply in (
            await api.post(path(tasks[0], "/restore"), as_=ada),
            await api.post("/api/v1/undo", {"request_id": request_id}, as_=ada),
        ):
            assert (reply.status, reply.problem()) == (403, "quota-exceeded")
        assert (await api.get("/api/v1/tasks", as_=ada)).headers["ETag"] is not None
        assert len((await api.get("/api/v1/trash", as_=ada)).body["tasks"]) == 1


async def test_one_of_twenty_restorations_at_once_restores(api: Api, ada: User) -> None:
    task = await create(api, ada)
    await api.delete(path(task), as_=ada)
    replies = await asyncio.gather(*(api.post(path(task, "/restore"), as_=ada) for _ in range(20)))
    assert {(reply.status, reply.body["version"]) for reply in replies} == {(200, 3)}
    assert len(await changes_of(api, ada, task)) == 3


async def test_a_batch_is_taken_back_by_its_request_id(api: Api, ada: User) -> None:
    kept, gone = await create(api, ada, "kept"), await create(api, ada, "gone", description="long")
    operations = [
        {"op": "create", "task": {"title": "new"}},
        {"op": "update", "id": kept["id"], "task": {"title": "other"}},
        {"op": "complete", "id": kept["id"], "completed": True},
        {"op": "delete", "id": gone["id"]},
    ]
    before = (await api.get("/api/v1/tasks", as_=ada)).body["tasks"]
    batch = await api.post("/api/v1/tasks/batch", {"operations": operations}, as_=ada)
    undone = await api.post("/api/v1/undo", {"request_id": batch.headers["X-Request-ID"]}, as_=ada)
    assert undone.status == 200
    assert [(one["version"], one["deleted"]) for one in undone.body["changes"]] == [(7, True), (8, False), (9, False)]
    after = (await api.get("/api/v1/tasks", as_=ada)).body["tasks"]
    assert without_versions(after) == without_versions(before)
    again = await api.post("/api/v1/undo", {"request_id": batch.headers["X-Request-ID"]}, as_=ada)
    assert (again.status, again.body) == (200, {"changes": [], "skipped": []})
    await api.post("/api/v1/undo", {"request_id": undone.headers["X-Request-ID"]}, as_=ada)
    titles = {task["title"]: task["status"] for task in (await api.get("/api/v1/tasks", as_=ada)).body["tasks"]}
    assert titles == {"new": "TODO", "other": "COMPLETED"}, "an undo is taken back like anything"


def without_versions(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: task[name] for name in task if name not in {"version", "updated_at"}} for task in tasks]


async def test_an_import_is_taken_back_by_its_request_id(api: Api, ada: User) -> None:
    task = await create(api, ada, "here", tags=["x"])
    file = {"tasks": [{"id": task["id"], "title": "over"}, *({"title": f"file {number}"} for number in range(20))]}
    imported = await api.post("/api/v1/import", file, as_=ada)
    assert imported.status == 200
    assert [one["operation"] for one in await changes_of(api, ada, task)] == ["import", "create"]
    undone = await api.post("/api/v1/undo", {"request_id": imported.headers["X-Request-ID"]}, as_=ada)
    assert len(undone.body["changes"]) == 21
    tasks = (await api.get("/api/v1/tasks", as_=ada)).body
    assert (tasks["total"], [one["title"] for one in tasks["tasks"]]) == (1, ["here"])


async def token_of(api: Api, user: User) -> tuple[str, User]:
    body = {"name": "agent", "scopes": ["tasks:read", "tasks:write", "tasks:delete"]}
    reply = await api.post("/api/v1/auth/tokens", body, as_=user)
    assert reply.status == 201
    return reply.body["id"], User(user.id, user.email, reply.body["token"])


async def test_what_an_agent_did_since_a_moment_is_taken_back_and_others_stay(api: Api, ada: User) -> None:
    source, agent = await token_of(api, ada)
    mine = [await create(api, ada, f"mine {number}") for number in range(4)]
    for task in mine[:3]:
        await api.patch(path(task), {"title": "agent was here"}, as_=agent)
    await api.delete(path(mine[3]), as_=agent)
    made = await create(api, agent, "of the agent")
    await api.patch(path(mine[0]), {"priority": "HIGH"}, as_=ada)
    body = {"source": source} | ONE_DAY
    refused = await api.post("/api/v1/undo", body, as_=ada)
    assert (refused.status, refused.problem(), refused.body["tasks"]) == (409, "undo-conflict", [mine[0]["id"]])
    undone = await api.post("/api/v1/undo", body | {"on_conflict": "skip"}, as_=ada)
    assert (undone.status, undone.body["skipped"], len(undone.body["changes"])) == (200, [mine[0]["id"]], 4)
    tasks = {task["id"]: task for task in (await api.get("/api/v1/tasks", as_=ada)).body["tasks"]}
    assert [tasks[task["id"]]["title"] for task in mine] == ["agent was here", "mine 1", "mine 2", "mine 3"]
    assert tasks[mine[0]["id"]]["priority"] == "HIGH"
    assert made["id"] not in tasks
    [change] = [one for one in await changes_of(api, ada, mine[1]) if one["source"] == source]
    assert (change["operation"], change["actor_id"]) == ("update", ada.id)


async def test_all_changes_above_a_version_are_taken_back_whoever_made_them(api: Api, ada: User) -> None:
    _, agent = await token_of(api, ada)
    task = await create(api, ada)
    version = task["version"]
    await api.patch(path(task), {"title": "a"}, as_=agent)
    await api.patch(path(task), {"title": "b"}, as_=ada)
    await create(api, agent)
    undone = await api.post("/api/v1/undo", {"to_version": version}, as_=ada)
    assert [one["deleted"] for one in undone.body["changes"]] == [False, True]
    assert (await api.get(path(task), as_=ada)).body["title"] == "plan"
    future = await api.post("/api/v1/undo", {"to_version": 99}, as_=ada)
    assert (future.status, future.body["errors"][0]["field"]) == (422, "to_version")


async def test_a_history_with_gaps_is_not_gone_back_over(api: Api, ada: User, database_url: str) -> None:
    task = await create(api, ada)
    for title in ("a", "b"):
        await api.patch(path(task), {"title": title}, as_=ada)
    db = await asyncpg.connect(database_url)
    await db.execute("DELETE FROM task_changes WHERE user_id = $1 AND version = 2", ada.id)
    await db.close()
    reply = await api.post("/api/v1/undo", {"to_version": 1}, as_=ada)
    assert (reply.status, reply.problem()) == (409, "history-expired")
    assert (await api.post("/api/v1/undo", {"to_version": 2}, as_=ada)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {}, {"request_id": "x", "to_version": 1}, {"source": "x"}, {"since": "2026-01-01T00:00:00Z"},
        {"request_id": "x", "since": "2026-01-01T00:00:00Z"}, {"to_version": -1}, {"to_version": "1"},
        {"source": "x", "since": "yesterday"}, {"source": "x", "since": "2026-01-01T00:00:00"}, {"request_id": ""},
        {"request_id": "a\x00"}, {"request_id": "x", "on_conflict": "maybe"}, {"to_version": 10**30},
    ],
)  # fmt: skip
async def test_an_undo_that_says_not_what_is_invalid(api: Api, ada: User, body: dict[str, Any]) -> None:
    reply = await api.post("/api/v1/undo", body, as_=ada)
    assert (reply.status, reply.problem()) == (422, "validation-error")


async def test_an_unknown_request_is_404_and_nothing_to_do_an_empty_list(api: Api, ada: User) -> None:
    await create(api, ada)
    assert (await api.post("/api/v1/undo", {"request_id": "nothing"}, as_=ada)).status == 404
    reply = await api.post("/api/v1/undo", {"source": "nothing", **ONE_DAY}, as_=ada)
    assert (reply.status, reply.body) == (200, {"changes": [], "skipped": []})
    assert (await api.post(path({"id": uuid4()}, "/restore"), as_=ada)).status == 404


async def test_an_undo_with_a_key_is_done_once(api: Api, ada: User) -> None:
    task = await create(api, ada)
    request_id = (await api.patch(path(task), {"title": "a"}, as_=ada)).headers["X-Request-ID"]
    headers = {"Idempotency-Key": "k"}
    first = await api.post("/api/v1/undo", {"request_id": request_id}, as_=ada, headers=headers)
    await api.patch(path(task), {"title": "b"}, as_=ada)
    second = await api.post("/api/v1/undo", {"request_id": request_id}, as_=ada, headers=headers)
    assert (second.body, second.headers["Idempotency-Replayed"]) == (first.body, "true")
    assert (await api.get(path(task), as_=ada)).body["title"] == "b"


async def test_a_limited_token_needs_both_scopes_for_an_undo_and_cannot_forget(api: Api, ada: User) -> None:
    for scope in ("tasks:write", "tasks:delete"):
        made = await api.post("/api/v1/auth/tokens", {"name": "x", "scopes": [scope]}, as_=ada)
        agent = User(ada.id, ada.email, made.body["token"])
        assert (await api.post("/api/v1/undo", {"to_version": 0}, as_=agent)).status == 403
    _, agent = await token_of(api, ada)
    assert (await api.delete("/api/v1/history", as_=agent)).status == 403


async def test_what_is_forgotten_is_nowhere_and_sync_goes_on(api: Api, ada: User, database_url: str) -> None:
    canary = uuid4().hex
    task, gone = await create(api, ada, canary), await create(api, ada, canary, description=canary)
    cursor = (await api.get("/api/v1/sync", as_=ada)).body["cursor"]
    await api.patch(path(task), {"title": "plan"}, as_=ada)
    await api.delete(path(gone), as_=ada)
    assert (await api.delete("/api/v1/history", as_=ada)).status == 204
    db = await asyncpg.connect(database_url)
    rows = await db.fetch("SELECT task_changes::text AS text FROM task_changes WHERE user_id = $1", ada.id)
    await db.close()
    assert len(rows) == 1
    assert canary not in rows[0]["text"]
    assert await changes_of(api, ada, task) == []
    assert (await api.post(path(gone, "/restore"), as_=ada)).status == 404
    page = (await api.get(f"/api/v1/sync?cursor={cursor}", as_=ada)).body
    assert [change["deleted"] for change in page["changes"]] == [False, True]
    assert (await api.post("/api/v1/undo", {"to_version": 0}, as_=ada)).problem() == "history-expired"


async def test_without_history_only_deletions_are_kept(database_url: str) -> None:
    async with running_service(make_settings(as_serving_role(database_url), history_days=0)) as api:
        ada = await api.new_user()
        task = await create(api, ada)
        cursor = (await api.get("/api/v1/sync", as_=ada)).body["cursor"]
        request_id = (await api.patch(path(task), {"title": "a"}, as_=ada)).headers["X-Request-ID"]
        await api.post("/api/v1/import", {"tasks": [{"title": "b"}]}, as_=ada)
        assert await changes_of(api, ada, task) == []
        assert (await api.post("/api/v1/undo", {"request_id": request_id}, as_=ada)).status == 404
        await api.delete(path(task), as_=ada)
        assert (await api.get("/api/v1/trash", as_=ada)).body["tasks"] == []
        assert (await api.post(path(task, "/restore"), as_=ada)).status == 404
        page = (await api.get(f"/api/v1/sync?cursor={cursor}", as_=ada)).body
        assert [change["deleted"] for change in page["changes"]] == [False, True]
        db = await asyncpg.connect(database_url)
        [row] = await db.fetch("SELECT * FROM task_changes WHERE user_id = $1", ada.id)
        await db.close()
        kept = {name for name, value in row.items() if value is not None}
        assert kept == {"user_id", "version", "task_id", "changed_at", "operation", "deletes"}


async def test_an_administrators_change_has_its_actor_and_can_be_taken_back(api: Api, ada: User, admin: User) -> None:
    task = await create(api, ada)
    await api.patch(path(task, f"?user_id={ada.id}"), {"title": "ordered"}, as_=admin)
    [change, _] = await changes_of(api, ada, task)
    assert (change["actor_id"], change["source"]) == (admin.id, "administrator")
    body = {"request_id": change["request_id"]}
    assert (await api.post("/api/v1/undo", body, as_=admin)).status == 404, "the tasks are not the administrator's"
    assert len((await api.post("/api/v1/undo", body, as_=ada)).body["changes"]) == 1


async def test_ten_thousand_tasks_are_taken_back_at_once(database_url: str) -> None:
    """In time that grows with their number; a statement that compares each with each takes minutes."""
    settings = make_settings(as_serving_role(database_url), database_statement_timeout=10)
    async with running_service(settings) as api:
        ada = await api.new_user()
        file = {"tasks": [{"title": f"file {number}", "tags": ["x"]} for number in range(10_000)]}
        imported = await api.post("/api/v1/import", file, as_=ada)
        assert imported.body["created"] == 10_000
        undone = await api.post("/api/v1/undo", {"request_id": imported.headers["X-Request-ID"]}, as_=ada)
        assert undone.status == 200, undone.raw
        assert len(undone.body["changes"]) == 10_000
        again = await api.post("/api/v1/undo", {"request_id": undone.headers["X-Request-ID"]}, as_=ada)
        assert len(again.body["changes"]) == 10_000
        assert (await api.get("/api/v1/tasks?limit=1", as_=ada)).body["total"] == 10_000
