"""Import: files as other programs write them. Nothing is lost in silence, and nothing is guessed."""

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import pytest

from tests.client import Api, User
from tests.conftest import fill, make_settings, running_service
from tests.proxy import until
from tests.routes.test_transfers import IMPORT, TYPES, exported, imported, tasks_of
from tests.server.test_connections import large_bytes

Fields = dict[str, Any]


def todo(*lines: str, around: tuple[str, ...] = ()) -> str:
    return "\r\n".join(["BEGIN:VCALENDAR", *around, "BEGIN:VTODO", "SUMMARY:one", *lines, "END:VTODO", "END:VCALENDAR"])


BERLIN_BY_LOCATION = ("BEGIN:VTIMEZONE", "TZID:Our Zone", "X-LIC-LOCATION:Europe/Berlin", "END:VTIMEZONE")
CALENDARS: dict[str, tuple[str, Fields]] = {
    "floating times of the past are in UTC": (
        todo("CREATED:20210127T195122", "LAST-MODIFIED:20210128T195122", "DUE;VALUE=DATE:20210201"),
        {"created_at": "2021-01-27T19:51:22.000000Z", "updated_at": "2021-01-28T19:51:22.000000Z",
         "due_date": "2021-02-01"},
    ),
    "completed at a moment": (
        todo("COMPLETED:20210127T195122Z"),
        {"status": "COMPLETED", "completed_at": "2021-01-27T19:51:22.000000Z"},
    ),
    "completed on a day": (todo("COMPLETED;VALUE=DATE:20210127"), {"status": "COMPLETED"}),
    "a moment that stands for none": (todo("COMPLETED:16010101T000000Z"), {"status": "TODO", "completed_at": None}),
    "100 percent": (todo("PERCENT-COMPLETE:100"), {"status": "COMPLETED"}),
    "40 percent": (todo("PERCENT-COMPLETE:40"), {"status": "IN_PROGRESS"}),
    "no percent": (todo("PERCENT-COMPLETE:0"), {"status": "TODO"}),
    "a status before percent": (todo("PERCENT-COMPLETE:100", "STATUS:NEEDS-ACTION"), {"status": "TODO"}),
    "a start and a duration": (todo("DTSTART:20240418T180000Z", "DURATION:PT2H"), {"due_date": "2024-04-18T20:00:00Z"}),
    "a day and a duration": (todo("DTSTART;VALUE=DATE:20240418", "DURATION:P2D"), {"due_date": "2024-04-20"}),
    "a due date before a duration": (
        todo("DTSTART:20240418T180000Z", "DURATION:PT2H", "DUE:20240419T180000Z"), {"due_date": "2024-04-19T18:00:00Z"}
    ),
    "quoted-printable": (
        todo("DESCRIPTION;ENCODING=QUOTED-PRINTABLE;CHARSET=ISO-8859-1:Caf=E9 =\r\n=FCber=0D=0Ades, a=3Bb"),
        {"description": "Café über\ndes, a;b"},
    ),
    "quoted-printable without a name": (todo("DESCRIPTION;QUOTED-PRINTABLE:=41"), {"description": "A"}),
    "base64": (todo("DESCRIPTION;ENCODING=BASE64:w6k="), {"description": "é"}),
    "empty properties": (
        todo("DUE:", "STATUS:", "PRIORITY:", "CREATED:", "UID:", "SEQUENCE:", "PERCENT-COMPLETE:"),
        {"due_date": None, "status": "TODO", "priority": "MEDIUM"},
    ),
    "a date with a time": (todo("DUE;VALUE=DATE:20240418T230000"), {"due_date": "2024-04-18"}),
    "a quoted offset": (todo('DUE;TZID="GMT+03:00":20240718T120000'), {"due_date": "2024-07-18T09:00:00Z"}),
    "an offset as Outlook shows it": (
        todo('DUE;TZID="(UTC+05:30) Chennai, Kolkata":20240718T120000'), {"due_date": "2024-07-18T06:30:00Z"}
    ),
    "an offset behind Greenwich": (todo("DUE;TZID=UTC-3:20240718T120000"), {"due_date": "2024-07-18T15:00:00Z"}),
    "Greenwich": (todo("DUE;TZID=GMT:20240718T120000"), {"due_date": "2024-07-18T12:00:00Z"}),
    "small letters": (todo("DUE;TZID=europe/berlin:20240718T120000"), {"due_date": "2024-07-18T10:00:00Z"}),
    "a definition before": (
        todo("DUE;TZID=Our Zone:20240718T120000", around=BERLIN_BY_LOCATION), {"due_date": "2024-07-18T10:00:00Z"}
    ),
    "a definition behind": (
        todo("DUE;TZID=Our Zone:20240718T120000").replace(
            "END:VCALENDAR", "\r\n".join((*BERLIN_BY_LOCATION, "END:VCALENDAR"))
        ),
        {"due_date": "2024-07-18T10:00:00Z"},
    ),
    "the calendar's own zone": (
        todo("DUE:20240718T120000", around=("X-WR-TIMEZONE:America/New_York",)), {"due_date": "2024-07-18T16:00:00Z"}
    ),
}  # fmt: skip
TABLES: dict[str, tuple[str, Fields]] = {
    "names with spaces": ("Title,Due Date,Created At\none,2026-12-24,2026-01-01T00:00:00Z", {"due_date": "2026-12-24"}),
    "names in camelCase": ("title,dueDate\none,2026-12-24", {"due_date": "2026-12-24"}),
    "completed": ("title,Completed\none,TRUE", {"status": "COMPLETED"}),
    "not completed": ("title,completed\none,no", {"status": "TODO"}),
    "a named delimiter": ("sep=|\r\ntitle|tags\r\none|a", {"tags": ["a"]}),
    "a delimiter in quotes": ('"description; long",title\nx,one', {"title": "one"}),
    "cells beyond the header": ("title,due_date\none,2026-12-24,, ", {"due_date": "2026-12-24"}),
    "commas behind tags": ('title,tags\none,"home, ,"', {"tags": ["home"]}),
}
REWRITTEN = {
    "12/24/2026": ("mdy", "2026-12-24"),
    "24.12.2026": ("dmy", "2026-12-24"),
    "24-12-26": ("dmy", "2026-12-24"),
    "12/24/2026 6:05 PM": ("mdy", "2026-12-24T17:05:00Z"),
    "24/12/2026 12:00:30 AM": ("dmy", "2026-12-23T23:00:30Z"),
    "2026-12-24": ("dmy", "2026-12-24"),
    "2026-12-24T18:05": ("dmy", "2026-12-24T17:05:00Z"),
}


async def the_task(api: Api, content: str | bytes, name: str, query: str = "") -> Fields:
    """Import a file of one task as a new user and return the task; nothing else may be in the file."""
    user = await api.new_user()
    answer = await imported(api, user, content, name, query)
    assert answer.status == 200, answer.raw
    assert (answer.body["imported"], answer.body["note"]) == (1, None)
    [task] = await tasks_of(api, user)
    return task


@pytest.mark.parametrize(("file", "fields"), CALENDARS.values(), ids=CALENDARS)
async def test_a_calendar(api: Api, file: str, fields: Fields) -> None:
    task = await the_task(api, file, "ics")
    assert {name: task[name] for name in fields} == fields


async def test_a_fold_may_split_a_character(api: Api) -> None:
    raw = todo("DESCRIPTION:aé").encode().replace(b"\xc3\xa9", b"\xc3\r\n \xa9")
    assert (await the_task(api, raw, "ics"))["description"] == "aé"


async def test_the_zone_of_a_request_names_that_of_floating_times(api: Api, ada: User) -> None:
    file = todo("DUE:20240718T120000", around=("X-WR-TIMEZONE:America/New_York",))
    assert (await the_task(api, file, "ics", "?time_zone=europe/berlin"))["due_date"] == "2024-07-18T10:00:00Z"
    row = [{"title": "one", "due_date": "2024-07-18T12:00:00"}]
    assert (await the_task(api, json.dumps(row), "json", "?time_zone=Asia/Tokyo"))["due_date"] == "2024-07-18T03:00:00Z"
    refused = await imported(api, ada, todo("DUE:20240718T120000"), "ics")
    assert refused.failing() == {"line 2: due_date": "floating_time"}
    assert "?time_zone=" in refused.body["detail"]
    assert (await imported(api, ada, row, query="?time_zone=Mars")).failing() == {"time_zone": "time_zone"}


async def test_of_revisions_of_a_task_the_latest_counts(api: Api) -> None:
    uid = str(uuid4())
    revisions = [
        ("first", "SEQUENCE:1", "LAST-MODIFIED:20240105T000000Z"),
        ("latest", "SEQUENCE:2", "LAST-MODIFIED:20240104T000000Z"),
        ("second", "SEQUENCE:2", "LAST-MODIFIED:20240103T000000Z"),
    ]
    todos = [
        "\n".join(("BEGIN:VTODO", f"UID:{uid}", f"SUMMARY:{title}", *lines, "END:VTODO")) for title, *lines in revisions
    ]
    file = "\n".join(("BEGIN:VCALENDAR", *todos, todos[1], "END:VCALENDAR"))
    user = await api.new_user()
    answer = await imported(api, user, file, "ics")
    assert (answer.body["imported"], answer.body["ignored"]["components"]) == (1, {"VTODO": 2})
    assert [task["title"] for task in await tasks_of(api, user)] == ["latest"]


async def test_everything_that_is_not_taken_over_is_counted(api: Api, ada: User) -> None:
    event = "BEGIN:VEVENT\nSUMMARY:x\nBEGIN:VALARM\nEND:VALARM\nEND:VEVENT\n"
    lines = ("RRULE:FREQ=DAILY", "DTSTART:20240418T180000Z", "LOCATION:", "X-A:1", "X-A:2", "CREATED:00001231T000000Z")
    file = todo(*lines).replace("END:VCALENDAR", event * 2 + "END:VCALENDAR")
    assert (await imported(api, ada, file, "ics")).body["ignored"] == {
        "columns": [],
        "components": {"VEVENT": 2, "VALARM": 2},
        "properties": {"RRULE": 1, "DTSTART": 1, "X-A": 2, "CREATED": 1},
    }
    table = await imported(api, ada, "title,Due,version,\none,x,7,", "csv")
    assert table.body["ignored"] == {"columns": ["Due"], "components": {}, "properties": {}}
    rows = await imported(api, ada, [{"title": "a", "due": 1, "userId": "x"}, {"title": "b", "due": 2, "done": True}])
    assert rows.body["ignored"]["properties"] == {"due": 2, "done": 1}
    assert (await imported(api, ada, await exported(api, ada))).body["ignored"]["properties"] == {}
    many = await imported(api, ada, [{"title": "a"} | {f"x{n}": 1 for n in range(500)}])
    assert len(many.body["ignored"]["properties"]) == 101
    assert many.body["ignored"]["properties"]["others"] == 400


@pytest.mark.parametrize(
    ("name", "file"),
    [("ics", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VEVENT\nEND:VCALENDAR"), ("csv", "title\n"), ("json", "[]")],
)
async def test_a_file_without_a_task_says_so(api: Api, ada: User, name: str, file: str) -> None:
    answer = await imported(api, ada, file, name)
    assert (answer.status, answer.body["imported"], answer.body["note"]) == (200, 0, "There is no task in this file.")


@pytest.mark.parametrize(("file", "fields"), TABLES.values(), ids=TABLES)
async def test_a_table(api: Api, file: str, fields: Fields) -> None:
    task = await the_task(api, file, "csv")
    assert {name: task[name] for name in fields} == fields


@pytest.mark.parametrize("cell", REWRITTEN)
async def test_dates_that_a_spreadsheet_has_rewritten(api: Api, cell: str) -> None:
    order, due = REWRITTEN[cell]
    file = f"title,due_date\none,{cell}\n"
    assert (await the_task(api, file, "csv", f"?dates={order}&time_zone=Europe/Berlin"))["due_date"] == due


async def test_the_order_of_day_and_month_is_not_guessed(api: Api, ada: User) -> None:
    refused = await imported(api, ada, "title,due_date\none,12/11/2026\n", "csv")
    assert refused.failing() == {"line 2: due_date": "due_date_format"}
    assert "?dates=mdy" in refused.body["detail"]
    assert "?dates=dmy" in refused.body["detail"]
    for cell, order in (("24/12/2026", "mdy"), ("31/02/2026", "dmy"), ("12/24/2026 13:00 PM", "mdy")):
        answer = await imported(api, ada, f"title,due_date\none,{cell}\n", "csv", f"?dates={order}")
        assert answer.failing() == {"line 2: due_date": "due_date_format"}
    no_zone = await imported(api, ada, "title,due_date\none,12/24/2026 13:00\n", "csv", "?dates=mdy")
    assert no_zone.failing() == {"line 2: due_date": "due_date_without_offset"}
    unclear = await imported(api, ada, "title,completed\none,perhaps\n", "csv")
    assert unclear.failing() == {"line 2: completed": "bool_type"}


async def test_a_byte_order_mark_and_long_fractions(api: Api) -> None:
    raw = b"\xef\xbb\xbf" + json.dumps([{"title": "x", "due_date": "2026-12-24T18:00:00.123456789+01:00"}]).encode()
    assert (await the_task(api, raw, "json"))["due_date"] == "2026-12-24T17:00:00.123456Z"


async def test_a_change_in_the_future_is_one_of_now(api: Api, ada: User) -> None:
    row = [{"id": str(uuid4()), "title": "x", "updated_at": "2199-01-01T00:00:00Z"}]
    for expected in ("created", "unchanged"):
        assert (await imported(api, ada, row)).body[expected] == 1
    assert (await tasks_of(api, ada))[0]["updated_at"] < "2100"


async def test_wrong_records_can_be_skipped(api: Api, ada: User) -> None:
    rows = [{"title": "good"}, {"title": ""}, 7, {"title": "also good", "due_date": "tomorrow"}]
    refused = await imported(api, ada, rows)
    assert (refused.status, await tasks_of(api, ada)) == (422, [])
    answer = await imported(api, ada, rows, query="?on_error=skip")
    assert (answer.status, answer.body["created"], answer.body["skipped"]) == (200, 1, 3)
    assert answer.body["errors"] == refused.body["errors"]
    assert [task["title"] for task in await tasks_of(api, ada)] == ["good"]
    nothing_right = await imported(api, ada, [{"title": ""}], query="?on_error=skip")
    assert (nothing_right.body["imported"], nothing_right.body["skipped"], nothing_right.body["note"]) == (0, 1, None)


async def test_json_is_read_task_by_task_and_as_strictly_as_any_body(api: Api, ada: User) -> None:
    for text in (
        '[{"title": "a"},]', '[{"title": "a"} {"title": "b"}]', '[{"title": "a"}] x', '{"tasks": [}', '{"tasks": []',
        '{"a": NaN, "tasks": []}', '[{"title": "a", "title": "b"}]', '{"tasks": [], "tasks": []}', "[{'title': 1}]",
        "{1: 2}", "[1e, 2]", "[" * 5000, "nul",
    ):  # fmt: skip
        answer = await imported(api, ada, text)
        assert (answer.status, answer.problem()) == (400, "malformed-body"), text
    framed = '{"version": 2, "exported": {"by": ["x", {}]}, "tasks": [ {"title" : "a"} , {"title":"%s"}] , "end": 1}\n'
    assert (await imported(api, ada, framed % ("b" * 200))).body["created"] == 2
    assert (await imported(api, ada, framed % ("b" * 200_000))).failing() == {"body": "too_long"}
    assert (await imported(api, ada, json.dumps({f"x{n}": 1 for n in range(101)}))).failing() == {"body": "too_many"}


@pytest.mark.parametrize("name", TYPES)
async def test_an_export_of_ten_thousand_tasks_comes_back(api: Api, database_url: str, name: str) -> None:
    ada, bob = await api.new_user(), await api.new_user()
    await fill(database_url, ada.id, description="d" * 1000)
    file = await exported(api, ada, name)
    assert 11_000_000 < len(file) < 2**24
    answer = await imported(api, bob, file, name)
    assert (answer.status, answer.body["created"]) == (200, 10_000)
    assert sum(answer.body["ignored"]["properties"].values()) == 0


async def test_the_largest_file_is_a_setting(database_url: str) -> None:
    settings = make_settings(database_url=database_url, max_import_bytes=2000)
    async with running_service(settings) as api:
        ada = await api.new_user()
        for size, status in ((2000, 200), (2001, 413)):
            assert (await imported(api, ada, '[{"title": "a"}]'.ljust(size))).status == status


async def test_parameters_in_a_value_are_text(api: Api, ada: User, bob: User) -> None:
    task = {"title": "cookie a=1; value=2", "description": ";TZID=x:y", "tags": ["k;tzid=1", 'a";VALUE=b']}
    assert (await imported(api, ada, [task])).status == 200
    assert (await imported(api, bob, await exported(api, ada, "ics"), "ics")).status == 200
    [copy] = await tasks_of(api, bob)
    assert {name: copy[name] for name in task} == task


@pytest.mark.parametrize("duration", ["2 hours", "P99999999999D", ""])
async def test_an_unreadable_duration_is_an_error_only_where_it_decides(api: Api, ada: User, duration: str) -> None:
    alone = await imported(api, ada, todo(f"DURATION:{duration}"), "ics")
    assert (alone.status, alone.body["created"]) == (200, 1)
    if duration:
        deciding = await imported(api, ada, todo("DTSTART:20260101T100000Z", f"DURATION:{duration}"), "ics")
        assert (deciding.status, set(deciding.failing())) == (422, {"line 2: due_date"})


async def test_names_that_cannot_be_sent_back_are_answered_too(api: Api, ada: User) -> None:
    raw = '{"tasks": [{"title": "a", "\\ud800": 1}]}'
    assert (await imported(api, ada, raw)).body["ignored"]["properties"] == {"?": 1}
    strict = await api.post(IMPORT, raw=raw.encode(), as_=ada, headers={"Prefer": "handling=strict"})
    assert strict.failing() == {"?": "unknown"}
    assert len(await tasks_of(api, ada)) == 1
    for path in ("/api/v1/tasks", "/api/v1/auth/login"):
        answer = await api.post(path, raw=b'{"\\ud800": 1}', as_=ada, headers={"Prefer": "handling=strict"})
        assert (answer.status, "?" in answer.failing()) == (422, True)


@pytest.mark.parametrize("charset", ["x-unknown", "punycode", "utf-7", "unicode_escape", "rot13", "idna"])
async def test_an_encoding_that_is_not_known_is_an_error_and_loses_nothing(api: Api, ada: User, charset: str) -> None:
    for name, field in (("DUE", "due_date"), ("UID", "id"), ("DESCRIPTION", "description")):
        line = f"{name};ENCODING=QUOTED-PRINTABLE;CHARSET={charset}:20261224"
        answer = await imported(api, ada, todo(line), "ics")
        assert (answer.status, answer.failing()) == (422, {f"line 2: {field}": "content_line"})


async def test_a_table_that_cannot_be_read_to_its_end_is_not_imported_in_part(api: Api, ada: User) -> None:
    file = "title\na\n" + '"b" c\n' + "d\n" * 50
    answer = await imported(api, ada, file, "csv", "?on_error=skip")
    assert (answer.status, answer.failing()) == (422, {"line 3: record": "csv"})
    assert await tasks_of(api, ada) == []


async def test_calendars_of_several_zones_name_none(api: Api, ada: User) -> None:
    file = "\n".join(
        todo("DUE:20260701T120000", around=(f"X-WR-TIMEZONE:{zone}",)) for zone in ("Europe/Berlin", "America/New_York")
    )
    assert set((await imported(api, ada, file, "ics")).failing().values()) == {"floating_time"}


async def test_the_place_of_a_mistake_in_a_large_file_is_named(api: Api, ada: User) -> None:
    text = '{"tasks": [{"title": x},' + '{"title": "a"},' * 20_000 + "{}]}"
    answer = await imported(api, ada, text)
    assert (answer.status, "line 1, column 22" in answer.body["detail"]) == (400, True)


async def test_a_calendar_of_too_many_lines(api: Api, ada: User) -> None:
    answer = await imported(api, ada, "BEGIN:VCALENDAR\n" + "\n" * 500_000 + "END:VCALENDAR", "ics")
    assert answer.failing() == {"body": "too_many_lines"}


@pytest.mark.parametrize(
    ("name", "beginning", "filling"), [("csv", b"", b"\xff"), ("json", b"", b"\xff"), ("json", b"{}", b" ")]
)
async def test_a_refused_file_is_not_kept_in_memory(
    api: Api, ada: User, name: str, beginning: bytes, filling: bytes
) -> None:
    """An exception that is made once and raised again keeps the frames of every time, and the files in them."""
    mark = beginning + filling * 100
    for _ in range(12):
        answer = await imported(api, ada, beginning.ljust(2**21, filling), name)
        assert answer.status in {400, 422}

    async def are_freed() -> bool:
        return large_bytes(mark) <= 4  # the last ones may still be with the client, its connection or a log record

    await until(are_freed)


async def test_a_property_of_a_great_many_values_is_refused_before_it_is_parsed(api: Api, ada: User) -> None:
    todo = "BEGIN:VTODO\r\nUID:{}\r\nSUMMARY:t\r\nCATEGORIES:" + "," * 60_000 + "\r\nEND:VTODO\r\n"
    calendar = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + "".join(todo.format(n) for n in range(30)) + "END:VCALENDAR\r\n"
    began = time.monotonic()
    headers = {"Content-Type": "text/calendar"}
    answer = await api.send("POST", "/api/v1/import", raw=calendar.encode(), as_=ada, headers=headers)
    assert answer.status == 422
    assert "has more than 1000 values" in answer.body["detail"]
    assert time.monotonic() - began < 3


async def test_a_user_has_a_share_of_the_reading_of_files(api: Api, ada: User, bob: User) -> None:
    """Many files of one user wait for each other or are refused; another user's small one is read soon."""
    todo = "BEGIN:VTODO\r\nUID:{}\r\nSUMMARY:a task of some length\r\nDUE:20261224\r\nEND:VTODO\r\n"
    large = "BEGIN:VCALENDAR\r\n" + "".join(todo.format(uuid4()) for _ in range(3000)) + "END:VCALENDAR\r\n"
    headers = {"Content-Type": "text/calendar"}
    files = [
        asyncio.create_task(api.send("POST", "/api/v1/import", raw=large.encode(), as_=ada, headers=headers))
        for _ in range(8)
    ]
    await asyncio.sleep(0.1)
    small = "BEGIN:VCALENDAR\r\n" + todo.format("one") + "END:VCALENDAR\r\n"
    own = await api.send("POST", "/api/v1/import", raw=small.encode(), as_=bob, headers=headers)
    assert (own.status, own.body["created"]) == (200, 1)
    assert sum(file.done() for file in files) < 4
    assert {(await file).status for file in files} == {200}
