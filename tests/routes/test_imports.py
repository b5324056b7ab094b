"""Import: every wrong row is named, and all are taken over or none."""

import asyncio
import io
from typing import Any
from uuid import uuid4

import pytest

from tests.client import Api, User
from tests.conftest import make_settings, run_sql, running_service
from tests.routes.test_transfers import EXPORT, IMPORT, TYPES, counts, exported, imported, tasks_of

SERVICE_TOKEN = "a-service-for-tests-0123456789-abcdef"
WRONG_FILES: list[tuple[str, Any, dict[str, str]]] = [
    ("json", {"tasks": 1}, {"tasks": "list_type"}),
    ("json", {}, {"tasks": "list_type"}),
    ("json", 5, {"tasks": "list_type"}),
    ("json", [{"title": "a"}, 1, {"title": ""}], {"tasks[1]": "object_expected", "tasks[2].title": "string_too_short"}),
    ("json", [{"title": "a", "dueDate": "x", "due_date": "x"}], {"tasks[0].due_date": "repeated"}),
    ("json", [{"title": "a", "created_at": "2026-12-24"}], {"tasks[0].created_at": "moment_format"}),
    ("json", [{"title": "a", "updatedAt": "1969-12-31T00:00:00Z"}], {"tasks[0].updated_at": "due_date_range"}),
    ("json", [{"title": "a", "completed_at": "2026-12-24T10:00:00"}],
     {"tasks[0].completed_at": "due_date_without_offset"}),
    ("json", [{"title": "a", "tags": ["", "b"]}], {"tasks[0].tags[0]": "string_too_short"}),
    ("json", [{"title": "\ud800"}, {"title": "\0"}],
     {"tasks[0].title": "string_unicode", "tasks[1].title": "nul_character"}),
    ("csv", "", {"body": "missing"}),
    ("csv", "name\na\n", {"line 1": "header"}),
    ("csv", "title,Title\na,b\n", {"line 1": "header"}),
    ("csv", '"title', {"line 1": "csv"}),
    ("csv", 'title,description\na,"b\nc"\n\n,x\n', {"line 5: title": "string_too_short"}),
    ("csv", 'title\r\na\r\n"b\r\n', {"line 3: record": "csv"}),
    ("csv", "title\na,b\n", {"line 2: record": "too_many_cells"}),
    ("csv", "title,due_date,id\na,24.12.2026,7\nb,x,\n",
     {"line 2: due_date": "due_date_format", "line 2: id": "uuid", "line 3: due_date": "due_date_format"}),
    ("ics", "hello", {"body": "calendar"}),
    ("ics", "BEGIN:VCALENDAR\nBEGIN:VTODO\n", {"body": "calendar"}),
    ("ics", "BEGIN:VCALENDAR\nEND:VTODO\n", {"line 2": "calendar"}),
]  # fmt: skip


async def test_every_wrong_row_is_named_and_nothing_is_imported(api: Api, ada: User) -> None:
    for name, content, failing in WRONG_FILES:
        answer = await imported(api, ada, content, name)
        assert (answer.status, answer.failing()) == (422, failing), content
        assert await tasks_of(api, ada) == []
    rows = [{"title": "right"}] + [{"title": ""}] * 3000
    answer = await imported(api, ada, rows)
    assert answer.failing()["tasks"] == "more_rows"
    assert all(f"tasks[{number}]" in answer.body["errors"][-1]["message"] for number in (1001, 3000))
    assert await tasks_of(api, ada) == []


async def test_what_is_not_well_formed_is_400(api: Api, ada: User) -> None:
    for name, raw in (
        ("json", b"{"),
        ("json", b"\xff"),
        ("csv", b"title\n\xff"),
        ("ics", b"\xff"),
        ("json", b"[" * 99_999),
    ):
        answer = await imported(api, ada, raw, name)
        assert (answer.status, answer.problem()) == (400, "malformed-body")


async def test_which_bodies_an_import_takes(api: Api, ada: User) -> None:
    for headers in (
        {"Content-Type": "text/plain"}, {"Content-Type": "text/csv; charset=latin-1"}, {"Content-Type": ""},
        {"Content-Type": "text/csv", "Content-Encoding": "gzip"},
    ):  # fmt: skip
        answer = await api.post(IMPORT, raw=b"title\na\n", as_=ada, headers=headers)
        assert (answer.status, answer.problem()) == (415, "unsupported-media-type")
        assert all(f"`{media}`" in answer.body["detail"] for media in TYPES.values())
    assert (await api.post(IMPORT, as_=ada)).failing() == {"body": "missing"}
    for size, status in ((2**24, 200), (2**24 + 1, 413)):
        headers = {"Authorization": f"Bearer {ada.token}", "Content-Type": "application/json"}
        data = io.BytesIO(b'[{"title": "a"}]'.ljust(size))
        async with api.session.post(api.base + IMPORT, data=data, headers=headers) as response:
            assert response.status == status


async def test_moments_and_ids_are_taken_from_the_file(api: Api, ada: User) -> None:
    task = {
        "id": str(uuid4()), "title": "t", "status": "COMPLETED", "createdAt": "2020-01-01T01:00:00+01:00",
        "updated_at": "2021-01-01T00:00:00.000001Z", "completedAt": "2020-06-01T00:00:00Z",
        "user_id": "x", "version": 9,
    }  # fmt: skip
    answer = await imported(api, ada, {"tasks": [task, {"title": "u", "completed_at": "2020-01-01T00:00:00Z"}]})
    assert (counts(answer), answer.body["version"]) == ((2, 0, 0), 2)
    old, new = await tasks_of(api, ada)
    assert (old["id"], old["created_at"]) == (task["id"], "2020-01-01T00:00:00.000000Z")
    assert (old["updated_at"], old["completed_at"]) == ("2021-01-01T00:00:00.000001Z", "2020-06-01T00:00:00.000000Z")
    assert (old["user_id"], old["version"], new["version"]) == (ada.id, 1, 2)
    assert (new["completed_at"], new["status"], new["created_at"] == new["updated_at"]) == (None, "TODO", True)
    done = {"title": "v", "completed": True, "updated_at": "2021-01-01T00:00:00Z"}
    await imported(api, ada, [done])
    assert (await tasks_of(api, ada))[2]["completed_at"] == "2021-01-01T00:00:00.000000Z"


async def test_the_same_id_twice_is_an_error_on_the_second(api: Api, ada: User) -> None:
    task = {"id": str(uuid4()), "title": "t"}
    assert (await imported(api, ada, [task, {"title": "u"}, task])).failing() == {"tasks[2].id": "repeated"}


async def test_a_csv_edited_in_a_spreadsheet_is_imported_back(api: Api, ada: User) -> None:
    fields = {"description": "d", "tags": ["x"], "due_date": "2026-12-24", "priority": "LOW"}
    ids = [(await api.post("/api/v1/tasks", {"title": f"t{n}", **fields}, as_=ada)).body["id"] for n in range(3)]
    file = (
        (await exported(api, ada, "csv")).decode("utf-8-sig").replace(",", ";").replace("t1;d;TODO", "new;;COMPLETED")
    )
    before = await tasks_of(api, ada)
    answer = await imported(api, ada, file, "csv")
    assert (counts(answer), answer.body["version"]) == ((0, 1, 2), 4)
    after = await tasks_of(api, ada)
    assert (after[0], after[2]) == (before[0], before[2])
    changed = after[1]
    assert (changed["id"], changed["title"], changed["description"]) == (ids[1], "new", None)
    assert changed["status"] == "COMPLETED"
    assert changed["completed_at"] == changed["updated_at"] > before[1]["updated_at"]
    assert (changed["created_at"], changed["version"]) == (before[1]["created_at"], 4)


@pytest.mark.parametrize("name", ["json", "csv", "ics"])
async def test_an_edited_file_changes_something_once(api: Api, ada: User, name: str) -> None:
    await api.post("/api/v1/tasks", {"title": "before"}, as_=ada)
    await asyncio.sleep(1.1)  # a calendar knows no fractions of seconds
    file = (await exported(api, ada, name)).replace(b"before", b"after")
    assert [counts(await imported(api, ada, file, name)) for _ in range(2)] == [(0, 1, 0), (0, 0, 1)]


async def test_what_is_absent_in_the_file_stays_as_it_is(api: Api, ada: User) -> None:
    fields = {"description": "d", "tags": ["x"], "due_date": "2026-12-24", "priority": "LOW", "status": "IN_PROGRESS"}
    task = (await api.post("/api/v1/tasks", {"title": "t", **fields}, as_=ada)).body
    answer = await imported(api, ada, f"title,ID,mood\n t ,{task['id']},fine\n", "csv")
    assert counts(answer) == (0, 0, 1)
    assert await tasks_of(api, ada) == [task]
    assert counts(await imported(api, ada, f"title,id,tags,due_date\nt,{task['id']},,\n", "csv")) == (0, 1, 0)
    changed = (await tasks_of(api, ada))[0]
    assert (changed["tags"], changed["due_date"], changed["description"]) == ([], None, "d")
    assert (changed["status"], changed["priority"]) == ("IN_PROGRESS", "LOW")


async def test_the_quota_is_exact(api: Api, database_url: str) -> None:
    async with running_service(make_settings(database_url, max_tasks_per_user=3)) as service:
        ada = await service.new_user()
        rows = [{"id": str(uuid4()), "title": "t"} for _ in range(3)]
        assert (await imported(service, ada, [*rows, {"title": "t"}])).failing() == {"tasks": "too_many_tasks"}
        assert counts(await imported(service, ada, rows[:2])) == (2, 0, 0)
        refused = await imported(service, ada, [{"title": "a"}, {"title": "b"}])
        assert (refused.status, refused.problem()) == (403, "quota-exceeded")
        assert counts(await imported(service, ada, rows)) == (1, 0, 2)
        listed = (await service.get("/api/v1/tasks", as_=ada)).body
        assert (listed["total"], len(listed["tasks"])) == (3, 3)


async def test_imports_at_once_leave_no_gap(api: Api, ada: User) -> None:
    files = [[{"title": f"{n} {row}"} for row in range(20)] for n in range(6)]
    answers = await asyncio.gather(*(imported(api, ada, file) for file in files))
    assert sorted(answer.body["version"] for answer in answers) == [20, 40, 60, 80, 100, 120]
    tasks = await tasks_of(api, ada)
    assert sorted(task["version"] for task in tasks) == list(range(1, 121))


async def test_somebody_from_elsewhere_gets_a_row_and_an_account_that_is_gone_none(
    api: Api, ada: User, database_url: str
) -> None:
    settings = make_settings(database_url, service_auth_token=SERVICE_TOKEN)
    async with running_service(settings) as service:
        shown = {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": f"out {uuid4()}"}
        for expected in ((1, 0, 0), (1, 0, 0)):
            answer = await service.post(IMPORT, [{"title": "t"}], headers=shown)
            assert counts(answer) == expected
        assert answer.body["version"] == 2
        assert len((await service.get(EXPORT, headers=shown)).body["tasks"]) == 2
        await run_sql(database_url, f"DELETE FROM users WHERE id = '{ada.id}'")
        assert (await imported(api, ada, [{"title": "t"}])).problem() == "unauthenticated"


async def test_a_calendar_of_another_program(api: Api, ada: User) -> None:
    lines = [
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x", "BEGIN:VTIMEZONE", "TZID:Europe/Berlin", "END:VTIMEZONE",
        "BEGIN:VEVENT", "UID:e", "SUMMARY:no task", "END:VEVENT",
        "BEGIN:VTODO", "UID:not-a-uuid@x", "SUMMARY;LANGUAGE=en:Buy", "  milk",
        "DUE;TZID=Europe/Berlin:20261224T100000",
        "PRIORITY:9", "STATUS:CANCELLED", "CATEGORIES:a,b\\,c", "CATEGORIES:d", "COMPLETED:20261120T080000Z",
        "BEGIN:VALARM", "DESCRIPTION:alarm", "SUMMARY:alarm", "END:VALARM", "END:VTODO",
        "begin:vtodo", "summary:day", "due;value=date:20261224", "priority:0", "DESCRIPTION:a\\nb\\, \\\\n",
        "end:vtodo",
        "END:VCALENDAR",
    ]  # fmt: skip
    file = "\r\n".join(lines)
    assert counts(await imported(api, ada, file, "ics")) == (2, 0, 0)
    by_title = {task["title"]: task for task in await tasks_of(api, ada)}
    milk, day = by_title["Buy milk"], by_title["day"]
    assert (milk["due_date"], milk["priority"], milk["status"]) == ("2026-12-24T09:00:00Z", "LOW", "COMPLETED")
    assert (milk["tags"], milk["completed_at"]) == (["a", "b,c", "d"], "2026-11-20T08:00:00.000000Z")
    assert milk["description"] is None
    assert (day["due_date"], day["priority"], day["status"]) == ("2026-12-24", "MEDIUM", "TODO")
    assert day["description"] == "a\nb, \\n"
    again = file.replace("summary:day", f"summary:day\r\nUID:{day['id'].upper()}")
    assert counts(await imported(api, ada, again, "ics")) == (0, 0, 2)


async def test_wrong_tasks_of_a_calendar_are_named_by_the_line_they_begin_at(api: Api, ada: User) -> None:
    wrong = [
        ("DUE:20261224T100000", "due_date", "floating_time"), ("DUE:tomorrow", "due_date", "moment_format"),
        ("DUE;TZID=Mars/Base:20261224T100000", "due_date", "time_zone"),
        ("DUE:20261324", "due_date", "moment_format"),
        ("DUE;TZID=" + "/a" * 5000 + ":20261224T100000", "due_date", "time_zone"),
        ("PRIORITY:x", "priority", "priority"),
        ("DESCRIPTION:" + "x" * 70_000, "description", "too_long"), ("DESCRIPTION", "description", "content_line"),
        ("DUE:P1D", "due_date", "moment_format"),
        ("DUE;TZID=America/New_York:99991231T235959", "due_date", "moment_format"),
        ("STATUS:DONE", "status", "literal_error"), ("SUMMARY:again", "title", "repeated"),
        ('DESCRIPTION;X="a:b', "description", "content_line"),
    ]  # fmt: skip
    todos = [f"BEGIN:VTODO\nSUMMARY:t\n{line}\nEND:VTODO" for line, _, _ in wrong]
    file = "\n".join(["BEGIN:VCALENDAR", *todos, "END:VCALENDAR"])
    expected = {f"line {2 + 4 * n}: {field}": code for n, (_, field, code) in enumerate(wrong)}
    assert (await imported(api, ada, file, "ics")).failing() == expected
