"""Exactly once: the same request with the same `Idempotency-Key` changes something once, however often it comes."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.auth_server import shared
from tests.client import ABSENT, Answer, Api, User
from tests.conftest import make_settings, run_sql, running_service
from tests.families import Dialect, in_every_family
from tests.routes.test_identities import bearer
from tests.routes.test_identities import open_api as open_api
from tests.routes.test_sessions import rows
from tests.routes.test_tasks import created
from tests.routes.test_users import admin as admin
from todo_service.queries import clocks, idempotency_keys


async def keyed(api: Api, method: str, path: str, key: str, body: Any = ABSENT, **options: Any) -> Answer:
    return await api.send(method, path, body, headers={"Idempotency-Key": key} | options.pop("headers", {}), **options)


async def patiently(api: Api, method: str, path: str, key: str, body: Any = ABSENT, **options: Any) -> Answer:
    """The same, again while there is too much to do, as clients try again: on a slow machine 50 at once may be."""
    async with asyncio.timeout(30):
        while (answer := await keyed(api, method, path, key, body, **options)).status == 503:
            await asyncio.sleep(0.1)
    return answer


def replayed(answer: Answer) -> bool:
    return answer.headers.get("Idempotency-Replayed") == "true"


@in_every_family
async def test_a_create_that_is_repeated_gets_the_first_answer(api: Api, ada: User, family: Dialect) -> None:
    key, path = str(uuid4()), family.tasks(ada)
    first = await keyed(api, "POST", path, key, {"title": "t"}, as_=ada)
    assert (first.status, replayed(first)) == (201, False)
    await api.put(family.task(ada, first.body["id"]), {"title": "changed since"}, as_=ada)
    for spelling in (path, path + "/"):
        again = await keyed(api, "POST", spelling, key, {"title": "t"}, as_=ada)
        assert (again.status, again.raw, replayed(again)) == (201, first.raw, True)
        for header in ("ETag", "Location", "Content-Type", "Cache-Control"):
            assert again.headers[header] == first.headers[header]
    await api.delete(family.task(ada, first.body["id"]), as_=ada)
    assert (await keyed(api, "POST", path, key, {"title": "t"}, as_=ada)).raw == first.raw, "though it is deleted"
    assert (await api.get(path, as_=ada)).headers["X-Total-Count"] == "0"
    other = await keyed(api, "POST", path, key + "x", {"title": "t"}, as_=ada)
    assert other.body["id"] != first.body["id"]


@in_every_family
async def test_a_retried_toggle_does_not_toggle_back(api: Api, ada: User, family: Dialect) -> None:
    task = await created(api, ada)
    path = family.task(ada, task["id"]) + "/complete"
    for expected in (True, False):
        key = str(uuid4())
        answers = [await keyed(api, "PATCH", path, key, as_=ada) for _ in range(3)]
        assert [answer.body["completed"] for answer in answers] == [expected] * 3
        assert [replayed(answer) for answer in answers] == [False, True, True]
        assert len({answer.raw for answer in answers}) == 1
    assert (await api.get(family.task(ada, task["id"]), as_=ada)).body["version"] == 3


@in_every_family
async def test_the_same_key_with_another_body_or_path_is_422(api: Api, ada: User, family: Dialect) -> None:
    task = await created(api, ada)
    key, path = str(uuid4()), family.tasks(ada)
    await keyed(api, "POST", path, key, {"title": "t"}, as_=ada)
    for method, where, body in (
        ("POST", path, {"title": "u"}),
        ("POST", path, {"title": "t", "completed": False}),
        ("POST", path + "?x=1", {"title": "t"}),
        ("PATCH", family.task(ada, task["id"]) + "/complete", ABSENT),
    ):
        answer = await keyed(api, method, where, key, body, as_=ada)
        assert (answer.status, answer.problem()) == (422, "idempotency-key-reused")
    assert (await api.get(path, as_=ada)).headers["X-Total-Count"] == "2"
    assert not replayed(await api.post(path, {"title": "t"}, as_=ada))


async def test_keys_are_each_users_own(api: Api, ada: User, bob: User) -> None:
    for user in (ada, bob):
        answer = await keyed(api, "POST", "/api/v1/tasks", "same key", {"title": user.id}, as_=user)
        assert (answer.status, answer.body["user_id"], replayed(answer)) == (201, user.id, False)


async def test_50_concurrent_repeats_give_one_change_and_equal_answers(api: Api, ada: User) -> None:
    for round_ in range(5):
        key = str(uuid4())
        body = {"title": "t"} | ({"id": str(uuid4())} if round_ % 2 else {})
        tries = (patiently(api, "POST", "/api/v1/tasks", key, body, as_=ada) for _ in range(50))
        answers = await asyncio.gather(*tries)
        assert {answer.status for answer in answers} == {201}
        assert len({answer.raw for answer in answers}) == 1
        assert sum(not replayed(answer) for answer in answers) == 1
    assert (await created(api, ada))["version"] == 6
    task = await created(api, ada)
    path = f"/api/v1/tasks/{task['id']}/complete"
    toggles = await asyncio.gather(*(patiently(api, "PATCH", path, "toggle", as_=ada) for _ in range(50)))
    assert {(answer.status, answer.body["completed"]) for answer in toggles} == {(200, True)}


@in_every_family
async def test_a_refusal_is_not_kept_and_the_key_stays_free(api: Api, ada: User, family: Dialect) -> None:
    key, path = str(uuid4()), family.tasks(ada)
    taken = await created(api, ada)
    for body, status in (({"title": ""}, family.invalid), ({"title": "x", "id": taken["id"]}, 409)):
        assert (await keyed(api, "POST", path, key, body, as_=ada)).status == status
    missing = f"{path}/{uuid4()}/complete"
    assert (await keyed(api, "PATCH", missing, key, as_=ada)).status == 404
    stale = {"If-Match": '"0"'}
    complete = f"{path}/{taken['id']}/complete"
    assert (await keyed(api, "PATCH", complete, key, as_=ada, headers=stale)).status == 412
    assert (await keyed(api, "POST", path, key, {"title": "t"})).status == 401
    answer = await keyed(api, "POST", path, key, {"title": "now"}, as_=ada)
    assert (answer.status, replayed(answer)) == (201, False)


async def test_a_quota_refusal_is_not_kept(database_url: str) -> None:
    async with running_service(make_settings(database_url, max_tasks_per_user=1)) as api:
        ada = await api.new_user()
        first = await created(api, ada)
        assert (await keyed(api, "POST", "/api/v1/tasks", "k", {"title": "t"}, as_=ada)).problem() == "quota-exceeded"
        await api.delete(f"/api/v1/tasks/{first['id']}", as_=ada)
        assert (await keyed(api, "POST", "/api/v1/tasks", "k", {"title": "t"}, as_=ada)).status == 201


async def test_after_24_hours_a_key_is_new(api: Api, ada: User, database_url: str) -> None:
    async def again(title: str) -> Answer:
        return await keyed(api, "POST", "/api/v1/tasks", "k", {"title": title}, as_=ada)

    async def age(interval: str) -> None:
        await run_sql(
            database_url,
            f"UPDATE idempotency_keys SET created_at = now() - interval '{interval}' WHERE user_id = '{ada.id}'",
        )

    first = await again("t")
    await age("23 hours 59 minutes")
    assert (await again("t")).raw == first.raw
    assert (await again("u")).status == 422
    await age("24 hours 1 minute")
    fresh = await again("u")
    assert (fresh.status, fresh.body["title"], replayed(fresh)) == (201, "u", False)
    assert replayed(await again("u"))


@in_every_family
async def test_a_key_is_1_to_255_printable_characters(api: Api, ada: User, family: Dialect) -> None:
    path = family.tasks(ada)
    for good in ("k", "x" * 255, 'a b-c_d:"é"', str(uuid4())):
        assert (await keyed(api, "POST", path, good, {"title": "t"}, as_=ada)).status == 201
        assert replayed(await keyed(api, "POST", path, good, {"title": "t"}, as_=ada))
    for bad in ("", " ", "x" * 256, "a\tb", "\u200b", "a\u0085"):
        answer = await keyed(api, "POST", path, bad, {"title": "t"}, as_=ada)
        assert (answer.status, answer.failing()) == (family.invalid, {"Idempotency-Key": "key"}), repr(bad)
    lines = [("Idempotency-Key", "a"), ("Idempotency-Key", "b"), ("Authorization", f"Bearer {ada.token}")]
    async with api.session.post(api.base + path, json={"title": "t"}, headers=lines) as response:
        assert response.status == family.invalid
    raw = {"Idempotency-Key": "\udcff\udcfe"}
    answer = await api.post(path, {"title": "t"}, as_=ada, headers=raw)
    assert answer.status in {400, family.invalid}, "bytes that are not UTF-8"


async def test_other_methods_do_not_look_at_the_key(api: Api, ada: User) -> None:
    task = await created(api, ada)
    path = f"/api/v1/tasks/{task['id']}"
    for title in ("a", "b"):
        assert (await keyed(api, "PUT", path, "k", {"title": title}, as_=ada)).body["title"] == title
    assert (await keyed(api, "DELETE", path, "k", as_=ada)).status == 204
    assert (await keyed(api, "DELETE", path, "k", as_=ada)).status == 404


async def test_an_outside_users_first_write_may_have_a_key(open_api: Api, database_url: str) -> None:
    headers = bearer(shared(sub=uuid4().hex))
    answers = await asyncio.gather(
        *(keyed(open_api, "POST", "/api/v1/tasks", "k", {"title": "t"}, headers=headers) for _ in range(20))
    )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.raw for answer in answers}) == 1
    user_id = uuid4().hex
    missing = f"/api/v1/tasks/{uuid4()}/complete"
    refused = await keyed(open_api, "PATCH", missing, "k", headers=bearer(shared(sub=user_id)))
    assert refused.status == 404
    db = await asyncpg.connect(database_url)
    assert await db.fetchval("SELECT count(*) FROM users WHERE id = $1", user_id) == 0, "nothing was written"
    await db.close()


async def test_an_administrators_toggle_is_kept_too(api: Api, ada: User, admin: User) -> None:
    task = await created(api, ada)
    path = f"/api/v1/tasks/{task['id']}/complete"
    answers = [await keyed(api, "PATCH", path, "k", as_=admin) for _ in range(2)]
    assert [(answer.body["completed"], replayed(answer)) for answer in answers] == [(True, False), (True, True)]


async def test_the_answer_is_kept_in_the_transaction_of_the_change(
    api: Api, ada: User, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An observer never sees a task without its answer, or an answer without its task."""
    db = await asyncpg.connect(database_url)
    done = asyncio.Event()

    async def observe() -> int:
        looks = 0
        while not done.is_set():
            tasks, answers, unanswered = await db.fetchrow(  # type: ignore[misc]  # an aggregate has a row
                "SELECT (SELECT count(*) FROM tasks WHERE user_id = $1), count(*), count(*) - count(status)"
                " FROM idempotency_keys WHERE user_id = $1",
                ada.id,
            )
            assert (tasks, unanswered) == (answers, 0)
            looks += 1
        return looks

    observing = asyncio.create_task(observe())
    await asyncio.gather(
        *(keyed(api, "POST", "/api/v1/tasks", str(n % 60), {"title": "t"}, as_=ada) for n in range(120))
    )
    done.set()
    assert await observing > 10
    await db.close()


async def test_an_account_that_is_gone_stays_gone(api: Api, ada: User, database_url: str) -> None:
    await run_sql(database_url, f"DELETE FROM users WHERE id = '{ada.id}'")
    answer = await keyed(api, "POST", "/api/v1/tasks", "k", {"title": "t"}, as_=ada)
    assert (answer.status, answer.problem()) == (401, "unauthenticated")


async def test_the_end_of_an_account_ends_its_kept_answers(api: Api, ada: User, database_url: str) -> None:
    await keyed(api, "POST", "/api/v1/tasks", "k", {"title": "secret"}, as_=ada)
    await run_sql(database_url, f"DELETE FROM users WHERE id = '{ada.id}'")
    db = await asyncpg.connect(database_url)
    assert await db.fetchval("SELECT count(*) FROM idempotency_keys WHERE user_id = $1", ada.id) == 0
    await db.close()


async def test_a_key_taken_again_and_the_end_of_its_user_never_wait_for_each_other(database_url: str) -> None:
    """An expired key is a row that is there already: no foreign key holds its user then."""
    user_id = uuid4().hex
    await run_sql(database_url, f"INSERT INTO users (id) VALUES ('{user_id}')")
    await run_sql(database_url, f"INSERT INTO task_clocks (user_id) VALUES ('{user_id}')")
    await run_sql(
        database_url,
        f"INSERT INTO idempotency_keys VALUES ('{user_id}', 'k', '', now() - interval '25 hours', 201, '{{}}', '')",
    )
    db = await asyncpg.connect(database_url)
    async with db.transaction():
        await idempotency_keys.claim(db, user_id=user_id, key="k", fingerprint=b"f")
        deletion = asyncio.create_task(run_sql(database_url, f"DELETE FROM users WHERE id = '{user_id}'"))
        await asyncio.sleep(0.2)
        assert await clocks.lock(db, owner_id=user_id) == 0
    await deletion
    await db.close()


async def test_a_body_is_compared_as_it_was_sent(api: Api, ada: User) -> None:
    raw = json.dumps({"title": "t"}).encode()
    first = await api.post("/api/v1/tasks", raw=raw, as_=ada, headers={"Idempotency-Key": "k"})
    again = await api.post("/api/v1/tasks", raw=raw + b" ", as_=ada, headers={"Idempotency-Key": "k"})
    assert (first.status, again.status) == (201, 422)


async def test_an_import_that_is_repeated_imports_once(api: Api, ada: User) -> None:
    """Its tasks have no ids, so that without a key each would be new again."""
    file = {"tasks": [{"title": "a"}, {"title": "b"}]}
    answers = await asyncio.gather(*(keyed(api, "POST", "/api/v1/import", "k", file, as_=ada) for _ in range(8)))
    assert {(answer.status, answer.raw) for answer in answers} == {(200, answers[0].raw)}
    assert sum(not replayed(answer) for answer in answers) == 1
    assert (await api.get("/api/v1/tasks", as_=ada)).body["total"] == 2
    csv = {"Content-Type": "text/csv", "Idempotency-Key": "k"}
    other = await api.post("/api/v1/import", raw=b"title\nc\n", as_=ada, headers=csv)
    assert (other.status, other.problem()) == (422, "idempotency-key-reused")


async def test_the_answer_to_a_batch_that_changes_nothing_is_not_stored(api: Api, ada: User, database_url: str) -> None:
    task = (await api.post("/api/v1/tasks", {"title": "t", "description": "x" * 5000}, as_=ada)).body
    same = {"operations": [{"op": "update", "id": task["id"], "task": {"title": "t"}}] * 100}
    for _ in range(2):
        answer = await api.post("/api/v1/tasks/batch", same, as_=ada, headers={"Idempotency-Key": "nothing"})
        assert (answer.status, "Idempotency-Replayed" in answer.headers) == (200, False)
    assert await rows(database_url, "SELECT FROM idempotency_keys WHERE user_id = $1", ada.id) == []
    changing = {"operations": [*same["operations"][:3], {"op": "update", "id": task["id"], "task": {"title": "u"}}]}
    first, again = [
        await api.post("/api/v1/tasks/batch", changing, as_=ada, headers={"Idempotency-Key": "some"}) for _ in range(2)
    ]
    assert (again.raw, again.headers["Idempotency-Replayed"]) == (first.raw, "true")


async def test_the_stored_answers_of_a_user_are_bounded(
    api: Api, ada: User, bob: User, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todo_service.routes.idempotency.MAX_STORED", 20_000)
    body = {"title": "t", "description": "x" * 5000}
    statuses = [
        (await api.post("/api/v1/tasks", body, as_=ada, headers={"Idempotency-Key": str(n)})).status for n in range(5)
    ]
    assert statuses == [201, 201, 201, 403, 403]
    refused = await api.post("/api/v1/tasks", body, as_=ada, headers={"Idempotency-Key": "4"})
    assert (refused.problem(), "without the header" in refused.body["detail"]) == ("quota-exceeded", True)
    assert (await api.get("/api/v1/tasks", as_=ada)).body["total"] == 3, "a refusal changes nothing"
    assert (await api.post("/api/v1/tasks", body, as_=ada)).status == 201
    assert (await api.post("/api/v1/tasks", body, as_=bob, headers={"Idempotency-Key": "4"})).status == 201
    await rows(
        database_url,
        "UPDATE idempotency_keys SET created_at = created_at - interval '25 hours' WHERE user_id = $1",
        ada.id,
    )
    assert (await api.post("/api/v1/tasks", body, as_=ada, headers={"Idempotency-Key": "5"})).status == 201
