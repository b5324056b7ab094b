"""The rules of a task, one by one, in every family."""

import asyncio
from collections.abc import Awaitable
from typing import Any
from uuid import uuid4

import pytest

from tests.client import ABSENT, Answer, Api, User
from tests.conftest import make_settings, running_service
from tests.families import Dialect, in_every_family

WRONG: list[tuple[str, Any, str]] = [
    ("title", "", "string_too_short"),
    ("title", " \t\n\u3000", "string_too_short"),
    ("title", "x" * 256, "string_too_long"),
    ("title", 5, "string_type"),
    ("title", None, "null"),
    ("title", ["a"], "string_type"),
    ("title", "a\0b", "nul_character"),
    ("title", "\ud800", "string_unicode"),
    ("description", "x" * 5001, "string_too_long"),
    ("description", "\0", "nul_character"),
    ("description", 1, "string_type"),
    ("description", "\udfff", "string_unicode"),
    ("status", "todo", "literal_error"),
    ("status", "DONE", "literal_error"),
    ("status", None, "null"),
    ("status", 1, "literal_error"),
    ("completed", "yes", "bool_type"),
    ("completed", 1, "bool_type"),
    ("completed", "true", "bool_type"),
    ("completed", None, "null"),
    ("priority", "highest", "literal_error"),
    ("priority", 5, "literal_error"),
    ("priority", "h\u0131gh", "literal_error"),
    ("priority", None, "null"),
    ("due_date", "2026-12-24T18:00:00", "due_date_without_offset"),
    ("due_date", "2026-12-24 18:00", "due_date_without_offset"),
    ("due_date", "2026-12-24 18:00:00Z", "due_date_format"),
    ("due_date", "2026-12-24T24:00:00Z", "due_date_format"),
    ("due_date", "2026-12-24T23:59:60Z", "due_date_format"),
    ("due_date", "2026-12-24T18:00Z", "due_date_format"),
    ("due_date", "2026-12-24T18:00:00+24:00", "due_date_format"),
    ("due_date", "2026-12-24T18:00:00+0100", "due_date_format"),
    ("due_date", "2026-02-30", "due_date_format"),
    ("due_date", "20261224", "due_date_format"),
    ("due_date", "2026-W52-4", "due_date_format"),
    ("due_date", "٢٠٢٦-١٢-٢٤", "due_date_format"),
    ("due_date", "tomorrow", "due_date_format"),
    ("due_date", "", "due_date_format"),
    ("due_date", "0000-01-01", "due_date_format"),
    ("due_date", "1969-12-31", "due_date_range"),
    ("due_date", "9999-01-01", "due_date_range"),
    ("due_date", "9999-12-31T23:59:59.999999Z", "due_date_range"),
    ("due_date", "9999-12-31T23:59:59-23:59", "due_date_format"),
    ("due_date", "0001-01-01T00:00:00+23:59", "due_date_format"),
    ("due_date", "1970-01-01T00:00:00+00:01", "due_date_range"),
    ("due_date", 1700000000, "due_date_type"),
    ("due_date", True, "due_date_type"),
    ("tags", "work", "list_type"),
    ("tags", None, "null"),
    ("tags", {"work": 1}, "list_type"),
    ("tags", [f"tag {n}" for n in range(21)], "too_many_tags"),
]
WRONG_TAGS: list[tuple[Any, str]] = [
    ("", "string_too_short"),
    ("  ", "string_too_short"),
    ("x" * 51, "string_too_long"),
    ("\0", "nul_character"),
    (1, "string_type"),
    (None, "string_type"),
]
WRONG_IDS = [None, 1, "", "x", "018F3C1E7A527B6E9D2F3F1F0F1F2A3B", "{018f3c1e-7a52-7b6e-9d2f-3f1f0f1f2a3b}"]
RIGHT_DUE_DATES = [
    ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
    ("2026-12-24t18:00:00z", "2026-12-24T18:00:00Z"),
    ("2026-12-24T18:00:00.5+05:30", "2026-12-24T12:30:00.500000Z"),
    ("2026-12-31T23:00:00-02:00", "2027-01-01T01:00:00Z"),
    ("2026-12-24T18:00:00-00:00", "2026-12-24T18:00:00Z"),
    ("2026-12-24", "2026-12-24"),
    ("2028-02-29", "2028-02-29"),
    ("1970-01-01", "1970-01-01"),
    ("9998-12-31T23:59:59.999999Z", "9998-12-31T23:59:59.999999Z"),
    (None, None),
]


async def created(api: Api, user: User, **fields: Any) -> dict[str, Any]:
    answer = await api.post("/api/v1/tasks", {"title": "a task", **fields}, as_=user)
    assert answer.status == 201, answer.raw
    task: dict[str, Any] = answer.body
    return task


@in_every_family
async def test_each_rule_refuses_its_wrong_value_on_create(api: Api, ada: User, family: Dialect) -> None:
    for field, value, code in WRONG:
        answer = await api.post(family.tasks(ada), {"title": "right", field: value}, as_=ada)
        assert (answer.status, answer.failing()) == (family.invalid, {family.field(field): code}), (field, value)
    for value, code in WRONG_TAGS:
        answer = await api.post(family.tasks(ada), {"title": "right", "tags": ["ok", value]}, as_=ada)
        assert (answer.status, answer.failing()) == (family.invalid, {"tags[1]": code}), value
    for value in WRONG_IDS:
        answer = await api.post(family.tasks(ada), {"title": "right", "id": value}, as_=ada)
        assert (answer.status, answer.failing()) == (family.invalid, {"id": "uuid"}), value
    assert family.unwrap((await api.get(family.tasks(ada), as_=ada)).body) == []


@in_every_family
async def test_each_rule_refuses_its_wrong_value_on_update(api: Api, ada: User, family: Dialect) -> None:
    task = await created(api, ada)
    path = family.task(ada, task["id"])
    for field, value, code in WRONG:
        for method in ("PUT", "PATCH"):
            answer = await api.send(method, path, {field: value}, as_=ada)
            assert (answer.status, answer.failing()) == (family.invalid, {family.field(field): code}), (field, value)
    assert (await api.get(f"/api/v1/tasks/{task['id']}", as_=ada)).body == task


async def test_all_failing_fields_are_named_at_once(api: Api, ada: User) -> None:
    wrong = {"title": "", "description": 1, "status": "x", "completed": 0, "priority": "x", "due_date": 1, "tags": 1}
    answer = await api.post("/api/v1/tasks", wrong, as_=ada)
    assert set(answer.failing()) == set(wrong)


async def test_a_missing_title_is_named(api: Api, ada: User) -> None:
    answer = await api.post("/api/v1/tasks", {}, as_=ada)
    assert answer.status == 422
    assert answer.body["errors"] == [{"field": "title", "message": "is required", "code": "missing"}]


@in_every_family
async def test_both_spellings_are_accepted_in_every_family(api: Api, ada: User, family: Dialect) -> None:
    for name in ("due_date", "dueDate"):
        answer = await api.post(family.tasks(ada), {"title": "t", name: "2026-12-24"}, as_=ada)
        assert answer.body[family.field("due_date")] == "2026-12-24"
    both = await api.post(family.tasks(ada), {"title": "t", "due_date": None, "dueDate": None}, as_=ada)
    assert (both.status, both.failing()) == (family.invalid, {family.field("due_date"): "repeated"})


@in_every_family
async def test_due_dates_come_back_as_sent_moments_in_utc(api: Api, ada: User, family: Dialect) -> None:
    for sent, answered in RIGHT_DUE_DATES:
        answer = await api.post(family.tasks(ada), {"title": "t", "due_date": sent}, as_=ada)
        assert answer.body[family.field("due_date")] == answered
        read = await api.get(family.task(ada, answer.body["id"]), as_=ada)
        assert read.body[family.field("due_date")] == answered


async def test_a_due_date_changes_its_kind_and_is_cleared(api: Api, ada: User) -> None:
    path = "/api/v1/tasks/" + (await created(api, ada, due_date="2026-12-24"))["id"]
    assert (await api.patch(path, {"due_date": "2026-12-24T00:00:00Z"}, as_=ada)).body["due_date"].endswith("Z")
    assert (await api.patch(path, {"due_date": "2026-12-25"}, as_=ada)).body["due_date"] == "2026-12-25"
    assert (await api.patch(path, {"due_date": None}, as_=ada)).body["due_date"] is None


async def test_text_round_trips_and_length_counts_code_points(api: Api, ada: User) -> None:
    title = "👩‍👩‍👧 \u202etfel\u202c é e\u0301 \U0001f600" + "漢" * 200
    description = "\x01\t\n \u200b 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 '; DROP TABLE tasks; -- % _ \\ \" \u2028"
    task = await created(api, ada, title=title, description=description, tags=["é", "E\u0301", "e"])
    assert (task["title"], task["description"], task["tags"]) == (title, description, ["é", "E\u0301", "e"])
    assert (await created(api, ada, title="𝔘" * 255))["title"] == "𝔘" * 255


async def test_tags_are_trimmed_and_duplicates_dropped_in_order(api: Api, ada: User) -> None:
    task = await created(api, ada, tags=[" b", "a", "b ", "A", "a"] + [f"t{n}" for n in range(17)])
    assert task["tags"] == ["b", "a", "A"] + [f"t{n}" for n in range(17)]


async def test_priority_is_accepted_in_any_letter_case(api: Api, ada: User) -> None:
    for spelling in ("urgent", "Urgent", "URGENT", "uRgEnT"):
        assert (await created(api, ada, priority=spelling))["priority"] == "URGENT"


@pytest.mark.parametrize(
    ("body", "status", "completed"),
    [
        ({}, "TODO", False),
        ({"completed": True}, "COMPLETED", True),
        ({"completed": False}, "TODO", False),
        ({"status": "COMPLETED"}, "COMPLETED", True),
        ({"status": "IN_PROGRESS"}, "IN_PROGRESS", False),
        ({"status": "IN_PROGRESS", "completed": False}, "IN_PROGRESS", False),
        ({"status": "COMPLETED", "completed": True}, "COMPLETED", True),
    ],
)
async def test_status_and_completed_on_create(
    api: Api, ada: User, body: dict[str, Any], status: str, completed: bool
) -> None:
    task = await created(api, ada, **body)
    assert (task["status"], task["completed"]) == (status, completed)
    assert (task["completed_at"] == task["created_at"]) is completed


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ("TODO", {"completed": True}, "COMPLETED"),
        ("IN_PROGRESS", {"completed": True}, "COMPLETED"),
        ("COMPLETED", {"completed": True}, "COMPLETED"),
        ("TODO", {"completed": False}, "TODO"),
        ("IN_PROGRESS", {"completed": False}, "IN_PROGRESS"),
        ("COMPLETED", {"completed": False}, "TODO"),
        ("COMPLETED", {"status": "IN_PROGRESS"}, "IN_PROGRESS"),
        ("COMPLETED", {"status": "IN_PROGRESS", "completed": False}, "IN_PROGRESS"),
        ("TODO", {"status": "COMPLETED", "completed": True}, "COMPLETED"),
        ("IN_PROGRESS", {}, "IN_PROGRESS"),
    ],
)
async def test_status_and_completed_on_update(
    api: Api, ada: User, before: str, change: dict[str, Any], after: str
) -> None:
    task = await created(api, ada, status=before)
    updated = (await api.put(f"/api/v1/tasks/{task['id']}", change, as_=ada)).body
    assert (updated["status"], updated["completed"]) == (after, after == "COMPLETED")
    assert (updated["completed_at"] is not None) == updated["completed"]
    assert (updated["version"] == task["version"]) == (before == after)


@in_every_family
async def test_contradicting_status_and_completed_are_refused(api: Api, ada: User, family: Dialect) -> None:
    task = await created(api, ada)
    for status, completed in (("TODO", True), ("IN_PROGRESS", True), ("COMPLETED", False)):
        body = {"title": "t", "status": status, "completed": completed}
        for method, path in (("POST", family.tasks(ada)), ("PUT", family.task(ada, task["id"]))):
            answer = await api.send(method, path, body, as_=ada)
            assert (answer.status, answer.failing()) == (family.invalid, {"completed": "contradiction"})


@in_every_family
async def test_a_toggle_without_body_and_a_body_that_says(api: Api, ada: User, family: Dialect) -> None:
    task = await created(api, ada, status="IN_PROGRESS")
    path = family.task(ada, task["id"]) + "/complete"
    assert (await api.patch(path, as_=ada)).body["status"] == "COMPLETED"
    assert (await api.patch(path, as_=ada)).body["status"] == "TODO"
    assert (await api.patch(path, {"completed": True}, as_=ada)).body["completed"] is True
    again = await api.patch(path, {"completed": True}, as_=ada)
    assert (again.body["completed"], again.body["version"]) == (True, task["version"] + 3)
    for body, failing in (({}, "missing"), ({"completed": None}, "bool_type"), ({"completed": "no"}, "bool_type")):
        answer = await api.patch(path, body, as_=ada)
        assert (answer.status, answer.failing()) == (family.invalid, {"completed": failing})


async def test_an_update_that_changes_nothing_changes_nothing(api: Api, ada: User) -> None:
    fields = {"description": "d", "due_date": "2026-12-24T10:00:00Z", "tags": ["a", "b"], "priority": "LOW"}
    task = await created(api, ada, **fields)
    for body in ({}, fields, {"title": " a task "}, {"due_date": "2026-12-24T11:00:00+01:00"}, {"completed": False}):
        for method in ("PUT", "PATCH"):
            answer = await api.send(method, f"/api/v1/tasks/{task['id']}", body, as_=ada)
            assert answer.body == task
    assert (await created(api, ada))["version"] == task["version"] + 1


@in_every_family
async def test_fields_the_client_may_not_set_are_ignored(api: Api, ada: User, bob: User, family: Dialect) -> None:
    forged = {
        "user_id": bob.id, "userId": bob.id, "owner_id": bob.id, "role": "admin", "version": 99, "is_active": False,
        "created_at": "2001-01-01T00:00:00Z", "updatedAt": "2001-01-01T00:00:00Z", "completed_at": "x", "nonsense": {},
    }  # fmt: skip
    answer = await api.post(family.tasks(ada), {"title": "mine", **forged}, as_=ada)
    assert answer.status == 201
    task = answer.body
    assert task[family.field("user_id")] == ada.id
    assert task["version"] == 1
    assert not task[family.field("created_at")].startswith("2001")
    same = await api.put(family.task(ada, task["id"]), {**forged, "id": str(uuid4())}, as_=ada)
    assert same.body == task
    assert (await api.get("/api/v1/tasks", as_=bob)).body["total"] == 0


@in_every_family
async def test_a_create_under_an_id_that_is_there_is_200_if_it_agrees(
    api: Api, ada: User, bob: User, family: Dialect
) -> None:
    task_id = str(uuid4())
    fields = {"id": task_id.upper(), "title": " a ", "tags": ["x", "x"], "due_date": "2026-12-24", "priority": "low"}
    first = await api.post(family.tasks(ada), fields, as_=ada)
    assert (first.status, first.body["id"]) == (201, task_id)
    again = await api.post(family.tasks(ada), fields, as_=ada)
    assert (again.status, again.body, again.headers["ETag"]) == (200, first.body, first.headers["ETag"])
    assert "Location" not in again.headers
    less = await api.post(family.tasks(ada), {"id": fields["id"], "title": "a", "completed": False}, as_=ada)
    assert (less.status, less.body) == (200, first.body), "what is not sent does not disagree"
    others: list[dict[str, Any]] = [
        {"title": "b"},
        {"tags": []},
        {"due_date": "2026-12-24T00:00:00Z"},
        {"completed": True},
    ]
    for other in others:
        taken = await api.post(family.tasks(ada), {**fields, **other}, as_=ada)
        assert (taken.status, taken.problem()) == (409, "task-id-taken")
    assert (await api.post(family.tasks(bob), fields, as_=bob)).status == 201, "somebody else's id does not show"
    assert (await created(api, ada))["version"] == 2, "none of them left a gap"


async def test_50_creates_of_one_id_make_one_task(api: Api, ada: User) -> None:
    for _ in range(5):
        body = {"id": str(uuid4()), "title": "t"}
        answers = await asyncio.gather(*(api.post("/api/v1/tasks", body, as_=ada) for _ in range(50)))
        assert sorted(answer.status for answer in answers) == [200] * 49 + [201]
        assert len({answer.raw for answer in answers}) == 1


@in_every_family
async def test_ids_that_are_not_one_of_my_tasks_are_404(api: Api, ada: User, family: Dialect) -> None:
    task_id = (await created(api, ada))["id"]
    strange = ["1", "null", task_id[:-1], task_id + "0", task_id.replace("-", ""), f"{{{task_id}}}", "a%2Fb", "%00"]
    strange += [f"urn:uuid:{task_id}", "%20" + task_id, "..%2F..", "%C3%A9", str(uuid4()), "0" * 36]
    for wrong in strange:
        for method, suffix, body in (
            ("GET", "", ABSENT), ("PUT", "", {}), ("PATCH", "", {}), ("DELETE", "", ABSENT), ("PATCH",
            "/complete", ABSENT),
        ):  # fmt: skip
            answer = await api.send(method, family.task(ada, wrong) + suffix, body, as_=ada)
            assert (answer.status, answer.problem()) == (404, "not-found"), (method, wrong)
    assert (await api.get(family.task(ada, task_id.upper()), as_=ada)).status == 200


@in_every_family
async def test_somebody_elses_task_does_not_exist(api: Api, ada: User, bob: User, family: Dialect) -> None:
    task = await created(api, ada, description="secret")
    missing = str(uuid4())
    for method, suffix, body in (
        ("GET", "", ABSENT), ("PUT", "", {"title": "b"}), ("PATCH", "", {"title": "b"}), ("DELETE", "", ABSENT),
        ("PATCH", "/complete", ABSENT), ("PATCH", "/complete", {"completed": True}),
    ):  # fmt: skip
        foreign = await api.send(method, family.task(bob, task["id"]) + suffix, body, as_=bob)
        unknown = await api.send(method, family.task(bob, missing) + suffix, body, as_=bob)
        assert foreign.status == unknown.status == 404
        assert {**foreign.body, "request_id": 0} == {**unknown.body, "request_id": 0}
        assert set(foreign.headers) == set(unknown.headers)
    assert (await api.get(f"/api/v1/tasks/{task['id']}", as_=ada)).body == task
    assert family.unwrap((await api.get(family.tasks(bob), as_=bob)).body) == []
    assert (await created(api, bob))["version"] == 1, "bob's counter has not moved"


@pytest.mark.parametrize("prefix", ["/api/{}/tasks", "/api/users/{}/tasks"])
async def test_somebody_elses_path_is_403_whatever_is_sent(api: Api, ada: User, bob: User, prefix: str) -> None:
    task = await created(api, ada)
    for path in (prefix.format(ada.id), prefix.format(ada.id.upper()), prefix.format("%00"), prefix.format("x" * 300)):
        for method, suffix in (
            ("GET", ""), ("POST", ""), ("GET", f"/{task['id']}"), ("PUT", f"/{task['id']}"),
            ("PATCH", f"/{task['id']}"), ("DELETE", f"/{task['id']}"), ("PATCH", f"/{task['id']}/complete"),
        ):  # fmt: skip
            answer = await api.send(method, path + suffix, raw=b"not json", as_=bob)
            assert (answer.status, answer.problem()) == (403, "forbidden")
    assert (await api.get(f"/api/v1/tasks/{task['id']}", as_=ada)).body == task


async def test_50_concurrent_toggles_give_50_distinct_versions(api: Api, ada: User) -> None:
    task = await created(api, ada)
    answers = await asyncio.gather(*(api.patch(f"/api/v1/tasks/{task['id']}/complete", as_=ada) for _ in range(50)))
    by_version = {answer.body["version"]: answer.body["completed"] for answer in answers}
    assert sorted(by_version) == list(range(2, 52))
    assert all(completed == (version % 2 == 0) for version, completed in by_version.items()), "each saw the one before"


async def test_concurrent_changes_of_all_kinds_leave_no_gap(api: Api, ada: User) -> None:
    tasks = [await created(api, ada) for _ in range(10)]
    changes: list[Awaitable[Answer]] = []
    for n, task in enumerate(tasks):
        path = f"/api/v1/tasks/{task['id']}"
        changes += [api.patch(path, {"title": f"new {n}"}, as_=ada), api.patch(path, {"title": f"newer {n}"}, as_=ada)]
        changes += [api.delete(path, as_=ada), api.delete(path, as_=ada)]
        changes.append(api.post("/api/v1/tasks", {"title": "other"}, as_=ada))
    answers = await asyncio.gather(*changes)
    tasks_left = (await api.get("/api/v1/tasks?limit=1000", as_=ada)).body
    done = sum(answer.status < 300 for answer in answers)
    assert tasks_left["total"] == len(tasks_left["tasks"]) == 10
    assert (await created(api, ada))["version"] == 10 + done + 1


async def test_a_task_is_never_resurrected(api: Api, ada: User) -> None:
    for _ in range(20):
        path = f"/api/v1/tasks/{(await created(api, ada))['id']}"
        updates = [api.patch(path, {"title": str(n)}, as_=ada) for n in range(3)]
        answers = await asyncio.gather(*updates, api.delete(path, as_=ada), api.patch(path + "/complete", as_=ada))
        assert answers[3].status == 204
        assert {answer.status for answer in answers} <= {200, 204, 404}
        assert (await api.get(path, as_=ada)).status == 404


async def test_the_quota_is_exact_under_concurrency(database_url: str) -> None:
    async with running_service(make_settings(database_url, max_tasks_per_user=5)) as api:
        ada = await api.new_user()
        answers = await asyncio.gather(*(api.post("/api/tasks", {"title": "t"}, as_=ada) for _ in range(20)))
        refused = [answer for answer in answers if answer.status != 201]
        assert [(answer.status, answer.problem()) for answer in refused] == [(403, "quota-exceeded")] * 15
        tasks = (await api.get("/api/tasks", as_=ada)).body
        assert sorted(task["version"] for task in tasks) == [1, 2, 3, 4, 5]
        await api.delete(f"/api/tasks/{tasks[0]['id']}", as_=ada)
        assert (await api.post("/api/tasks", {"title": "t"}, as_=ada)).status == 201


async def test_reading_is_one_round_trip(api: Api, ada: User, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):
        await created(api, ada)
    capfd.readouterr()
    await api.get("/api/v1/tasks?limit=20", as_=ada)
    assert "statements=1 " in capfd.readouterr().out
