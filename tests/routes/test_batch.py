"""Batches: 1 to 100 operations, all or nothing, one transaction, results in order; a failing one named by its index."""

import asyncio
import json
from io import BytesIO
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.client import PASSWORD, Answer, Api, User
from tests.conftest import make_settings, run_sql, running_service
from tests.matching import A_MOMENT

BATCH = "/api/v1/tasks/batch"
MEBIBYTE = 1024 * 1024
SERVICE_TOKEN = "a-service-for-tests-0123456789-abcdef"


def create(**fields: Any) -> dict[str, Any]:
    return {"op": "create", "task": {"title": "a task", **fields}}


def update(task_id: str, if_version: int | None = None, **fields: Any) -> dict[str, Any]:
    return {"op": "update", "id": task_id, "task": fields, **_condition(if_version)}


def complete(task_id: str, if_version: int | None = None, **fields: Any) -> dict[str, Any]:
    return {"op": "complete", "id": task_id, **fields, **_condition(if_version)}


def delete(task_id: str, if_version: int | None = None) -> dict[str, Any]:
    return {"op": "delete", "id": task_id, **_condition(if_version)}


def _condition(if_version: int | None) -> dict[str, int]:
    return {} if if_version is None else {"if_version": if_version}


async def run(api: Api, user: User, *operations: Any, key: str | None = None) -> Answer:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await api.post(BATCH, {"operations": list(operations)}, as_=user, headers=headers)


async def results(api: Api, user: User, *operations: Any) -> list[dict[str, Any]]:
    answer = await run(api, user, *operations)
    assert answer.status == 200, answer.raw
    found: list[dict[str, Any]] = answer.body["results"]
    return found


async def listed(api: Api, user: User) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = (await api.get("/api/v1/tasks?limit=1000", as_=user)).body["tasks"]
    return tasks


async def next_version(api: Api, user: User) -> int:
    version: int = (await api.post("/api/v1/tasks", {"title": "next"}, as_=user)).body["version"]
    return version


def failed(answer: Answer, index: int) -> tuple[int, str]:
    """The status and the problem of an answer that must name the operation."""
    assert answer.body["index"] == index
    assert answer.body["detail"].startswith(f"Operation {index}: ")
    assert "ETag" not in answer.headers
    return answer.status, answer.problem()


async def test_results_come_in_order_with_the_status_of_the_single_request(api: Api, ada: User) -> None:
    task_id = str(uuid4())
    operations = [
        create(id=task_id.upper(), title=" Milk ", due_date="2026-12-24"),
        update(task_id, title="Oat milk"),
        complete(task_id),
        create(id=task_id, title="Oat milk"),
        delete(task_id),
    ]
    answer = await run(api, ada, *operations)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "private, no-cache")
    first: dict[str, Any] = {
        "id": task_id, "user_id": ada.id, "title": "Milk", "description": None, "status": "TODO", "completed": False,
        "priority": "MEDIUM", "due_date": "2026-12-24", "tags": [], "created_at": A_MOMENT, "updated_at": A_MOMENT,
        "completed_at": None, "version": 1,
    }  # fmt: skip
    second = first | {"title": "Oat milk", "version": 2}
    third = second | {"status": "COMPLETED", "completed": True, "completed_at": A_MOMENT, "version": 3}
    assert answer.body == {
        "results": [
            {"op": "create", "status": 201, "id": task_id, "task": first},
            {"op": "update", "status": 200, "id": task_id, "task": second},
            {"op": "complete", "status": 200, "id": task_id, "task": third},
            {"op": "create", "status": 200, "id": task_id, "task": third},
            {"op": "delete", "status": 204, "id": task_id},
        ]
    }
    assert await listed(api, ada) == []
    assert await next_version(api, ada) == 5, "the create that found its task did not count"


async def test_a_batch_takes_1_to_100_operations(api: Api, ada: User) -> None:
    assert len(await results(api, ada, *[create()] * 100)) == 100
    for operations in ([], [create()] * 101):
        answer = await run(api, ada, *operations)
        assert (answer.status, answer.failing()) == (422, {"operations": "operations_count"})
    for wrong, code in ((None, "list_type"), ({}, "list_type"), ("x", "list_type"), (1, "list_type")):
        answer = await api.post(BATCH, {"operations": wrong}, as_=ada)
        assert (answer.status, answer.failing()) == (422, {"operations": code})
    assert (await api.post(BATCH, {}, as_=ada)).failing() == {"operations": "missing"}
    assert (await api.post(BATCH, [], as_=ada)).failing() == {"body": "object_expected"}
    assert await next_version(api, ada) == 101


async def test_every_failing_field_of_every_operation_is_named_at_once(api: Api, ada: User) -> None:
    right = str(uuid4())
    answer = await run(
        api,
        ada,
        create(title="", dueDate="tomorrow"),
        {"op": "create"},
        {"op": "update", "id": "x", "if_version": True, "task": {"tags": ["ok", ""], "completed": None}},
        5,
        {"op": "merge", "id": "x"},
        {"id": right},
        {"op": "delete", "ifVersion": -1},
        complete(right, completed=None),
        complete(right, completed=1),
        {"op": "update", "id": right, "task": None},
        {"op": "update", "id": right.replace("-", ""), "task": []},
        update(right, status="TODO", completed=True),
        {"op": "delete", "id": right, "if_version": 1, "ifVersion": 1},
        create(id="x"),
        create(),
    )
    assert answer.status == 422
    assert "index" not in answer.body
    assert answer.failing() == {
        "operations[0].task.title": "string_too_short",
        "operations[0].task.due_date": "due_date_format",
        "operations[1].task": "missing",
        "operations[2].id": "uuid",
        "operations[2].if_version": "int_type",
        "operations[2].task.tags[1]": "string_too_short",
        "operations[2].task.completed": "null",
        "operations[3]": "object_expected",
        "operations[4].op": "literal_error",
        "operations[5].op": "missing",
        "operations[6].id": "missing",
        "operations[6].if_version": "greater_than_equal",
        "operations[7].completed": "null",
        "operations[8].completed": "bool_type",
        "operations[9].task": "object_expected",
        "operations[10].id": "uuid",
        "operations[10].task": "object_expected",
        "operations[11].task.completed": "contradiction",
        "operations[12].if_version": "repeated",
        "operations[13].task.id": "uuid",
    }
    assert await next_version(api, ada) == 1


@pytest.mark.parametrize(
    ("value", "code"),
    [(None, "null"), ("1", "int_type"), (1.0, "int_type"), (False, "int_type"), (-1, "greater_than_equal"),
     (2**63, "less_than_equal"), (10**30, "less_than_equal"), ([1], "int_type")],
)  # fmt: skip
async def test_if_version_is_a_whole_number_of_0_or_more(api: Api, ada: User, value: Any, code: str) -> None:
    for op in ("update", "complete", "delete"):
        answer = await run(api, ada, {"op": op, "id": str(uuid4()), "task": {}, "if_version": value})
        assert answer.failing() == {"operations[0].if_version": code}


async def test_names_come_in_either_spelling_and_unknown_ones_are_ignored(api: Api, ada: User) -> None:
    task_id = str(uuid4())
    found = await results(
        api,
        ada,
        create(id=task_id, dueDate="2026-12-24", userId="x", nonsense={}) | {"id": 5, "nonsense": 1},
        {"op": "update", "id": task_id, "ifVersion": 1, "task": {"due_date": None, "id": 5, "version": 9}},
        {"op": "delete", "id": task_id, "ifVersion": 2, "task": 5},
    )
    assert [result["status"] for result in found] == [201, 200, 204]
    assert (found[0]["task"]["due_date"], found[1]["task"]["due_date"]) == ("2026-12-24", None)


@pytest.mark.parametrize("index", range(5))
async def test_a_failing_operation_leaves_nothing_behind(api: Api, ada: User, database_url: str, index: int) -> None:
    kept = (await results(api, ada, create(), create()))[0]["task"]["id"]
    before = await listed(api, ada)
    operations = [create(), update(kept, title="new"), complete(kept), delete(kept)]
    operations.insert(index, delete(str(uuid4())))
    answer = await run(api, ada, *operations, key="k")
    assert failed(answer, index) == (404, "not-found")
    assert await listed(api, ada) == before
    db = await asyncpg.connect(database_url)
    try:
        for table, count in {"task_changes": 2, "idempotency_keys": 0}.items():
            assert await db.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", ada.id) == count
    finally:
        await db.close()
    assert await next_version(api, ada) == 3
    assert (await run(api, ada, create(), key="k")).status == 200, "a refusal leaves the key free"


async def test_a_failing_operation_is_answered_with_its_own_problem(api: Api, ada: User) -> None:
    task = (await results(api, ada, create()))[0]["task"]
    for operation, expected in (
        (update(str(uuid4()), title="t"), (404, "not-found")),
        (complete(str(uuid4())), (404, "not-found")),
        (delete(str(uuid4())), (404, "not-found")),
        (create(id=task["id"], title="another"), (409, "task-id-taken")),
        (update(task["id"], 7, title="t"), (412, "precondition-failed")),
        (complete(task["id"], 7), (412, "precondition-failed")),
        (delete(task["id"], 0), (412, "precondition-failed")),
    ):
        answer = await run(api, ada, create(), operation, create())
        assert failed(answer, 1) == expected
    single = await api.delete(f"/api/v1/tasks/{uuid4()}", as_=ada)
    batched = await run(api, ada, delete(str(uuid4())))
    assert batched.body["detail"] == f"Operation 0: {single.body['detail']}"
    assert await listed(api, ada) == [task]


async def test_each_operation_sees_the_ones_before_it(api: Api, ada: User) -> None:
    task_id = str(uuid4())
    found = await results(
        api, ada, create(id=task_id), complete(task_id), complete(task_id), update(task_id, title="b"),
        update(task_id, title="b"), delete(task_id), create(id=task_id, title="again"),
    )  # fmt: skip
    assert [result["task"]["completed"] for result in found[:3]] == [False, True, False]
    assert [result["task"]["version"] for result in found[3:5]] == [4, 4], "no change, no version"
    assert (found[6]["status"], found[6]["task"]["version"]) == (201, 6)
    gone = await run(api, ada, delete(task_id), create(), update(task_id, title="c"))
    assert failed(gone, 2) == (404, "not-found")
    assert [task["title"] for task in await listed(api, ada)] == ["again"]


async def test_if_version_may_name_a_version_made_in_the_same_batch(api: Api, ada: User) -> None:
    task_id = str(uuid4())
    found = await results(
        api, ada, create(id=task_id), update(task_id, 1, title="b"), complete(task_id, 2), delete(task_id, 3)
    )
    assert [result["status"] for result in found] == [201, 200, 200, 204]
    stale = await run(api, ada, create(id=task_id), update(task_id, 5, title="b"), complete(task_id, 5))
    assert failed(stale, 2) == (412, "precondition-failed")
    assert "version 6 now" in stale.body["detail"]


async def test_completed_sets_and_its_absence_toggles(api: Api, ada: User) -> None:
    task_id = (await results(api, ada, create(status="IN_PROGRESS")))[0]["id"]
    operations = [complete(task_id, completed=value) for value in (False, True, True, False)]
    found = await results(api, ada, *operations, complete(task_id), complete(task_id))
    assert [result["task"]["status"] for result in found] == [
        "IN_PROGRESS", "COMPLETED", "COMPLETED", "TODO", "COMPLETED", "TODO",
    ]  # fmt: skip
    assert [result["task"]["version"] for result in found] == [1, 2, 2, 3, 4, 5]


async def test_somebody_elses_task_does_not_exist(api: Api, ada: User, bob: User) -> None:
    task = (await results(api, ada, create()))[0]["task"]
    for operation in (update(task["id"], title="b"), complete(task["id"]), delete(task["id"])):
        assert failed(await run(api, bob, create(), operation), 1) == (404, "not-found")
    assert (await results(api, bob, create(id=task["id"])))[0]["status"] == 201, "nor does its id show"
    assert await listed(api, ada) == [task]


async def test_only_v1_has_batches(api: Api, ada: User) -> None:
    got = await api.get(BATCH, as_=ada)
    assert (got.status, got.problem(), got.headers["Allow"]) == (405, "method-not-allowed", "OPTIONS, POST")
    assert (await api.get("/api/tasks/batch", as_=ada)).problem() == "not-found"
    assert (await api.post("/api/tasks/batch", {"operations": [create()]}, as_=ada)).status == 405
    assert (await api.patch(BATCH + "/complete", as_=ada)).status == 404
    assert (await api.get(BATCH + "es", as_=ada)).status == 404
    assert (await api.post(BATCH + "/", {"operations": [create()]}, as_=ada)).status == 200


async def test_a_body_has_at_most_a_mebibyte_here_and_64_kib_elsewhere(api: Api, ada: User) -> None:
    body = json.dumps({"operations": [create()]}).encode()
    at_most = body[:-1].ljust(MEBIBYTE - 1) + body[-1:]
    assert (await api.post(BATCH, raw=at_most, as_=ada)).status == 200
    headers = {"Authorization": f"Bearer {ada.token}", "Content-Type": "application/json"}
    async with api.session.post(api.base + BATCH, data=BytesIO(at_most + b" "), headers=headers) as too_large:
        problem = await too_large.json(content_type=None)
        assert (too_large.status, problem["type"]) == (413, "/problems/body-too-large")
    assert (await api.post("/api/v1/tasks", raw=b" " * (64 * 1024 + 1), as_=ada)).status == 413
    assert (await api.post(BATCH, raw=at_most[:-1], as_=ada)).problem() == "malformed-body"


async def test_a_repeat_with_the_same_key_is_answered_the_same_and_changes_nothing(api: Api, ada: User) -> None:
    task_id = (await results(api, ada, create()))[0]["id"]
    operations = [create(), complete(task_id)]
    first = await run(api, ada, *operations, key="k")
    again = await run(api, ada, *operations, key="k")
    assert (first.status, again.status, again.raw) == (200, 200, first.raw)
    assert "Idempotency-Replayed" not in first.headers
    assert (again.headers["Idempotency-Replayed"], again.headers["Cache-Control"]) == ("true", "private, no-cache")
    other = await run(api, ada, create(), key="k")
    assert (other.status, other.problem()) == (422, "idempotency-key-reused")
    assert await next_version(api, ada) == 4


async def test_20_concurrent_repeats_make_one_change(api: Api, ada: User) -> None:
    answers = await asyncio.gather(*(run(api, ada, create(), create(), key="k") for _ in range(20)))
    assert {(answer.status, answer.raw) for answer in answers} == {(200, answers[0].raw)}
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 19
    assert await next_version(api, ada) == 3


async def test_50_concurrent_batches_leave_no_gap_and_do_not_mix(database_url: str) -> None:
    patient = make_settings(database_url, database_acquire_timeout=5, database_statement_timeout=5)
    async with running_service(patient) as api:
        ada = await api.new_user()
        task_id = (await results(api, ada, create()))[0]["id"]
        operations = [create(), complete(task_id), update(task_id, priority="LOW"), complete(task_id), create()]
        answers = await asyncio.gather(*(run(api, ada, *operations) for _ in range(50)))
        following = await next_version(api, ada)
    versions = []
    for answer in answers:
        assert answer.status == 200
        own = sorted({result["task"]["version"] for result in answer.body["results"]})
        assert own == list(range(own[0], own[-1] + 1)), "one after the other"
        versions += own
    assert sorted(versions) == list(range(2, following))


async def test_batches_and_single_writers_leave_no_gap(api: Api, ada: User) -> None:
    task_id = (await results(api, ada, create()))[0]["id"]
    batches = [run(api, ada, complete(task_id), create(), complete(task_id)) for _ in range(10)]
    singles = [api.patch(f"/api/v1/tasks/{task_id}/complete", as_=ada) for _ in range(20)]
    answers = await asyncio.gather(*batches, *singles)
    versions = []
    for answer in answers[:10]:
        own = [result["task"]["version"] for result in answer.body["results"]]
        assert own == list(range(own[0], own[0] + 3))
        versions += own
    versions += [answer.body["version"] for answer in answers[10:]]
    assert sorted(versions) == list(range(2, 52))


async def test_batches_in_opposite_orders_never_wait_for_each_other(api: Api, ada: User) -> None:
    ids = [result["id"] for result in await results(api, ada, *[create()] * 5)]
    forth = [complete(task_id) for task_id in ids]
    back = list(reversed(forth))
    answers = await asyncio.gather(*(run(api, ada, *(back if n % 2 else forth)) for n in range(20)))
    assert [answer.status for answer in answers] == [200] * 20
    assert await next_version(api, ada) == 5 + 100 + 1


async def test_the_quota_counts_within_a_batch_and_is_exact_under_concurrency(database_url: str) -> None:
    async with running_service(make_settings(database_url, max_tasks_per_user=5)) as api:
        ada = await api.new_user()
        answers = await asyncio.gather(*(run(api, ada, create(), create()) for _ in range(10)))
        assert sorted(answer.status for answer in answers) == [200] * 2 + [403] * 8
        assert failed(next(answer for answer in answers if answer.status == 403), 1) == (403, "quota-exceeded")
        task_id = (await results(api, ada, create()))[0]["id"]
        assert failed(await run(api, ada, create(), delete(task_id)), 0) == (403, "quota-exceeded")
        assert [result["status"] for result in await results(api, ada, delete(task_id), create())] == [204, 201]
        assert len(await listed(api, ada)) == 5


async def test_creates_of_one_id_in_concurrent_batches_make_one_task(api: Api, ada: User) -> None:
    for _ in range(5):
        task_id = str(uuid4())
        answers = await asyncio.gather(*(run(api, ada, create(id=task_id), create()) for _ in range(10)))
        assert sorted(answer.body["results"][0]["status"] for answer in answers) == [200] * 9 + [201]


async def test_an_outside_users_first_write_may_be_a_batch(database_url: str) -> None:
    async with running_service(make_settings(database_url, service_auth_token=SERVICE_TOKEN)) as api:
        for key in ({}, {"Idempotency-Key": "k"}):
            headers = {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": uuid4().hex}
            missing = await api.post(BATCH, {"operations": [create(), delete(str(uuid4()))]}, headers=headers | key)
            assert failed(missing, 1) == (404, "not-found")
            task_id = str(uuid4())
            body = {"operations": [create(id=task_id), complete(task_id), create()]}
            answers = await asyncio.gather(*(api.post(BATCH, body, headers=headers | key) for _ in range(5)))
            assert {answer.status for answer in answers} <= {200, 409}
            first = next(a for a in answers if a.status == 200 and a.body["results"][0]["status"] == 201)
            assert [result["task"]["version"] for result in first.body["results"]] == [1, 2, 3]


async def test_a_batch_and_the_end_of_its_user_never_wait_for_each_other(database_url: str) -> None:
    async with running_service(make_settings(database_url, service_auth_token=SERVICE_TOKEN)) as api:
        for _ in range(5):
            headers = {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": uuid4().hex}
            body = {"operations": [create()] * 50}
            await api.post(BATCH, body, headers=headers)
            batches = asyncio.gather(*(api.post(BATCH, body, headers=headers) for _ in range(3)))
            await asyncio.sleep(0.02)
            await run_sql(database_url, f"DELETE FROM users WHERE id = '{headers['X-User-ID']}'")
            assert [answer.status for answer in await batches] == [200] * 3


async def test_an_account_that_is_gone_stays_gone(api: Api) -> None:
    eve = await api.new_user()
    assert (await api.send("DELETE", "/api/v1/auth/me", {"password": PASSWORD}, as_=eve)).status == 204
    for operation in (create(), delete(str(uuid4()))):
        answer = await run(api, eve, operation)
        assert (answer.status, answer.problem(), "index" in answer.body) == (401, "unauthenticated", False)
