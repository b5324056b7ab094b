"""Round trips of every task there may be, and hostile files: a refusal in time, never a defect."""

import random
import time
import unicodedata
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar, Component

from todo_service.config.settings import Settings
from todo_service.errors import ApiError
from todo_service.queries.task_rows import TaskRow
from todo_service.queries.transfers import ImportTask
from todo_service.wire import calendars, imported_tasks
from todo_service.wire.calendars import Texts
from todo_service.wire.import_records import Ignored, ImportOptions
from todo_service.wire.text import is_invisible
from todo_service.wire.transfers import BY_MEDIA_TYPE, FORMATS, ImportQuery, read

SETTINGS = Settings(_env_file=None)
MEBIBYTE = 2**20
SECONDS = {"application/json": 3, "text/csv": 3, "text/calendar": 30}  # of `icalendar` on a busy machine: 50 µs a line
CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
STRANGE = st.text(st.sampled_from("'=+-@ \t\r\n\\\\,;:\"nN\x01\x85\u2028\ufeffé漢👩\u200d"), max_size=90)
TEXT = STRANGE | st.text(CHARACTERS, max_size=200)
TAG = TEXT.map(str.strip).filter(bool).map(lambda text: text[:50].strip()).filter(bool)
TITLE = TEXT.map(lambda text: text[:255].strip()).filter(lambda text: not is_invisible(text))
MOMENT = st.datetimes(datetime(1970, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
DUE = st.one_of(
    st.just((None, None)),
    MOMENT.map(lambda moment: (moment, None)),
    st.dates(date(1970, 1, 1), date(9998, 12, 31)).map(lambda day: (None, day)),
)


@st.composite
def rows(draw: st.DrawFn) -> TaskRow:
    status = draw(st.sampled_from(["TODO", "IN_PROGRESS", "COMPLETED"]))
    tags = draw(st.lists(TAG, max_size=20, unique_by=lambda tag: unicodedata.normalize("NFC", tag)))
    due_at, due_on = draw(DUE)
    return TaskRow(
        draw(st.uuids()), "ada", draw(TITLE), draw(st.none() | TEXT), status,
        draw(st.sampled_from(["URGENT", "HIGH", "MEDIUM", "LOW"])), due_at, due_on, tags, draw(MOMENT), draw(MOMENT),
        draw(MOMENT) if status == "COMPLETED" else None, 7,
    )  # fmt: skip


FILES = st.lists(rows(), max_size=4, unique_by=lambda row: row.id)


def through(name: str, tasks: list[TaskRow]) -> list[ImportTask]:
    """The tasks, written and read again."""
    file = FORMATS[name]
    parts = file.separator.join(file.write([task]) for task in tasks)
    ignored = Ignored()
    records = file.read(file.opening + parts + file.closing, ImportOptions(), ignored)
    checked = imported_tasks.check(records, settings=SETTINGS, time_zone=None, ignored=ignored)
    assert (checked.errors, ignored) == ((), Ignored())
    return checked.tasks


def fields(task: TaskRow | ImportTask, **others: Any) -> dict[str, Any]:
    names = (
        "id", "title", "description", "status", "priority", "due_at", "due_on", "created_at", "updated_at",
        "completed_at",
    )  # fmt: skip
    return {name: getattr(task, name) for name in names} | {"tags": task.tags or []} | others


@given(FILES)
def test_every_task_comes_back_equal_through_json(tasks: list[TaskRow]) -> None:
    assert [fields(sent) for sent in through("json", tasks)] == [fields(task) for task in tasks]


@given(FILES)
def test_every_task_comes_back_equal_through_csv(tasks: list[TaskRow]) -> None:
    expected = [fields(task, description=task.description or None) for task in tasks]
    assert [fields(sent) for sent in through("csv", tasks)] == expected


def plain(text: str) -> str:
    """The text as a calendar can hold it."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join("\ufffd" if (c < " " and c not in "\n\t") or c == "\x7f" else c for c in lines)


def seconds(moment: datetime | None) -> datetime | None:
    return moment.replace(microsecond=0) if moment else None


@given(FILES)
def test_every_task_comes_back_through_a_calendar_as_far_as_it_can_hold_it(tasks: list[TaskRow]) -> None:
    expected = [
        fields(
            task, title=plain(task.title), description=plain(task.description or "") or None,
            tags=list(dict.fromkeys(map(plain, task.tags))),
            **{name: seconds(getattr(task, name)) for name in ("due_at", "created_at", "updated_at", "completed_at")},
        )
        for task in tasks
    ]  # fmt: skip
    assert [fields(sent) for sent in through("ics", tasks)] == expected


@given(FILES)
def test_every_calendar_is_one_to_icalendar_and_to_the_letter(tasks: list[TaskRow]) -> None:
    file = FORMATS["ics"]
    raw = file.opening + file.write(tasks) + file.closing
    assert raw.endswith(b"\r\n")
    for line in raw[:-2].split(b"\r\n"):
        assert 0 < len(line) <= 75
        assert not set(line) & {*range(9), *range(10, 32), 127}
        line.decode()
    todos = Calendar.from_ical(raw).walk("VTODO")
    assert [seen(todo) for todo in todos] == [
        (
            str(task.id), plain(task.title), plain(task.description or ""), calendars.STATUSES[task.status],
            calendars.PRIORITIES[task.priority], seconds(task.due_at) or task.due_on,
            seconds(task.created_at), seconds(task.updated_at), seconds(task.completed_at),
            [plain(tag) for tag in task.tags],
        )
        for task in tasks
    ]  # fmt: skip


def seen(todo: Component) -> tuple[object, ...]:
    """What another program sees of a task."""
    texts = [str(todo.get(name, "")) for name in ("UID", "SUMMARY", "DESCRIPTION", "STATUS")]
    names = ("PRIORITY", "DUE", "CREATED", "LAST-MODIFIED", "COMPLETED")
    tags = [str(tag) for tag in todo.get("CATEGORIES", [])]
    return (*texts, *(todo.decoded(name, None) for name in names), tags)


def test_a_backslash_before_an_n_is_no_line_break() -> None:
    assert Texts(["C:\\New\\no\\\\N,;"]).to_ical() == rb"C:\\New\\no\\\\N\,\;"


def todo(*lines: str) -> bytes:
    return "\n".join(["BEGIN:VCALENDAR", "BEGIN:VTODO", *lines, "END:VTODO", "END:VCALENDAR"]).encode()


DICE = random.Random(7)  # noqa: S311
QUOTED = b"BEGIN:VCALENDAR\nBEGIN:VTODO\nSUMMARY;QUOTED-PRINTABLE:"
HOSTILE: list[tuple[str, bytes]] = [
    *((name, DICE.randbytes(MEBIBYTE)) for name in BY_MEDIA_TYPE),
    *((name, bytes(DICE.choices(b"ab,;:=\"\r\n \\'BEGIN:VTODO", k=MEBIBYTE))) for name in BY_MEDIA_TYPE),
    *((name, bytes(MEBIBYTE)) for name in BY_MEDIA_TYPE),
    ("application/json", b"[" * MEBIBYTE),
    ("text/calendar", QUOTED + b"=" * MEBIBYTE + b"\n" + b"=\n" * MEBIBYTE),
    ("text/calendar", QUOTED + b"=\n" * 400_000),
    ("text/calendar", (QUOTED + b"=41\n") * 30_000),
    ("application/json", b"[" + b",".join([b"{}"] * 100_000) + b"]"),
    ("application/json", b"[" + b",".join([b'{"title":1,"tags":1,"status":1,"due_date":1}'] * 10_000) + b"]"),
    ("application/json", b"[{" + b",".join(b'"%d":1' % n for n in range(90_000)) + b"}]"),
    ("application/json", b'[{"title":"\\ud800","tags":["\\udfff"],"description":"\\u0000"}]'),
    ("text/csv", b"title\n" + b"a\n" * 500_000),
    ("text/csv", b"title," * 170_000),
    ("text/csv", b"," * MEBIBYTE),
    ("text/csv", b"title\n" + b'"' * 1_000_001),
    ("text/csv", b'title\n"' + b"x\n" * 500_000),
    ("text/csv", b'title,tags\na,"' + b'""' * 60_000 + b'"\n'),
    ("text/csv", b"title,description\n" + (b"a," + b"'" * 5_001 + b"\n") * 200),
    ("text/calendar", b"BEGIN:VCALENDAR\n" * 65_000),
    ("text/calendar", b"BEGIN:" * 170_000),
    ("text/calendar", b"BEGIN:VCALENDAR\n" + b"BEGIN:VTODO\nEND:VTODO\n" * 45_000 + b"END:VCALENDAR"),
    ("text/calendar", b"BEGIN:VCALENDAR\n" + b"\n " * 500_000),
    ("text/calendar", todo("SUMMARY:" + "x" * MEBIBYTE)),
    ("text/calendar", todo("SUMMARY" + ";A=1" * 250_000 + ":x", "DUE:1")),
    ("text/calendar", todo('SUMMARY;A="' + " " * 1_000_000 + ":x")),
    ("text/calendar", todo("SUMMARY;A=" + "," * 1_000_000 + ":x", "DUE:1")),
    ("text/calendar", todo("SUMMARY:x", "DUE;TZID=" + "/a" * 500_000 + ":20261224T100000")),
    ("text/calendar", todo("SUMMARY:x", *["CATEGORIES:a"] * 78_000, "DUE:1")),
    ("text/calendar", todo(*["SUMMARY:x"] * 100_000)),
    ("text/calendar", todo(*["BEGIN:A"] * 60_000, *["END:A"] * 60_000)),
    ("text/calendar", todo(*["\x01 =\";:,garbage"] * 60_000)),
    ("text/calendar", todo("SUMMARY" + "".join(f";A{n}=1" for n in range(100_000)) + ":x", "DUE:1")),
    ("text/calendar", todo("SUMMARY:x", "CATEGORIES:" + "a," * 500_000, "DUE:1")),
    ("text/calendar", todo("SUMMARY:x", "DUE;TZID=" + "a" * 1_000_000 + ":20261224T100000")),
    ("text/calendar", todo("SUMMARY:x", "DUE;TZID=America:20261224T100000")),
    ("text/calendar", todo("SUMMARY:x", "DUE:" + "9" * 1_000_000, "PRIORITY:" + "9" * 40_000)),
    ("text/calendar", todo("SUMMARY;ENCODING=BASE64;VALUE=BINARY:" + "QUJD" * 250_000)),
    ("text/calendar", todo("SUMMARY:x", "PRIORITY;VALUE=DATE,PERIOD:20261224T100000Z/P999999999D")),
    *(
        ("text/calendar", todo("SUMMARY:x", line + value))
        for line in ("DUE:", "COMPLETED;VALUE=PERIOD:", "DUE;VALUE=A,B;TZID=America/New_York:")
        for value in (
            "99991231T235959Z", "99991231T235959", "00000101", "00000101T000000Z", "19690101T000000Z",
            "20261224T246060Z", "20261224T100000Z/P999999999D", "P" + "9" * 1_000_000 + "D", "-P1D", "100000",
            "FREQ=SECONDLY;COUNT=1000000000",
        )
    ),
]  # fmt: skip
MANY = {
    "lines": "UID:{n}\nDUE:\nSTATUS:\nSUMMARY:\nCREATED:\nPRIORITY:\nCOMPLETED:\nCATEGORIES:\n",
    "zones": "UID:{n}\nDUE;TZID=Zone {n}:20261224T100000\nCREATED;TZID=/{n}/UTC:20261224T100000\n",
    "categories": "CATEGORIES:\n" * 6 + "DUE:\n",
}


@pytest.mark.parametrize(("media_type", "raw"), HOSTILE, ids=lambda value: str(value[:24]))
def test_a_hostile_file_is_answered_in_time(media_type: str, raw: bytes) -> None:
    started = time.process_time()
    with suppress(ApiError):
        read(raw, media_type, ImportQuery(), SETTINGS)
    assert time.process_time() - started < SECONDS[media_type]


@pytest.mark.parametrize("lines", MANY.values(), ids=MANY)
def test_ten_thousand_wrong_todos_are_answered_in_time(lines: str) -> None:
    todos = "".join(f"BEGIN:VTODO\n{lines.format(n=n)}END:VTODO\n" for n in range(9_999))[: MEBIBYTE - 100]
    raw = f"BEGIN:VCALENDAR\n{todos[: todos.rindex('BEGIN:VTODO')]}END:VCALENDAR\n".encode()
    started = time.process_time()
    with suppress(ApiError):
        read(raw, "text/calendar", ImportQuery(), SETTINGS)
    assert time.process_time() - started < SECONDS["text/calendar"]


def test_a_file_cannot_redefine_a_zone_nor_define_one() -> None:
    lines = [
        "BEGIN:VTIMEZONE", "TZID:{zone}", "BEGIN:STANDARD", "DTSTART:19700101T000000", "TZOFFSETFROM:+0000",
        "TZOFFSETTO:+1400", "RRULE:FREQ=SECONDLY", "END:STANDARD", "END:VTIMEZONE",
    ]  # fmt: skip
    for disguise in ("BEGIN:", " BEGIN:", "BEGIN;X=1:", "BE GIN:"):
        for zone, known in (("Europe/Berlin", True), ("My Zone", False)):
            definition = [line.format(zone=zone).replace("BEGIN:", disguise) for line in lines]
            due = [f"DUE;TZID={zone}:20261224T100000"]
            for raw in (todo("SUMMARY:x", *definition, *due), todo("SUMMARY:x", *due)):
                try:
                    assert "2026-12-24T09:00:00" in read(raw, "text/calendar", ImportQuery(), SETTINGS).tasks.tasks
                except ApiError:
                    assert not known or b"VTIMEZONE" in raw


def test_parameters_do_not_change_what_a_value_is() -> None:
    raw = todo(
        "SUMMARY;ENCODING=BASE64;VALUE=BINARY:QUJD", "DUE;TZID=Europe/Berlin; VALUE = DATE-TIME:20261224T100000Z",
        "CREATED;TZID=Europe/Berlin:20261224T100000", 'COMPLETED;TZID="Europe/Berlin";VALUE=A,B:20261224T110000',
        "CATEGORIES;VALUE=DATE:a\\,b,c", "CATEGORIES: ,d", "STATUS;VALUE=URI:completed", "PRIORITY;VALUE=TEXT:05",
    )  # fmt: skip
    records = FORMATS["ics"].read(raw, ImportOptions(), Ignored())
    [task] = imported_tasks.check(records, settings=SETTINGS, time_zone=None, ignored=Ignored()).tasks
    assert (task.title, task.tags, task.status, task.priority) == ("ABC", ["a,b", "c", "d"], "COMPLETED", "MEDIUM")
    moments = [task.due_at, task.created_at, task.completed_at]
    assert [moment and moment.hour for moment in moments] == [10, 9, 10]


WORDS = [
    "BEGIN:", "END:", "VCALENDAR", "VTODO", "SUMMARY", "DUE", ";TZID=", ":", ";", "=", '"', "20261224T100000", "Z",
    "\\", ",", "\n", "\r", " ", "title", "tags", "id", "a", "\0", "'", "{", "}", "[", "]",
]  # fmt: skip
LETTERS = st.lists(st.sampled_from(WORDS)).map("".join)


@given(st.sampled_from(list(BY_MEDIA_TYPE)), LETTERS | st.text(CHARACTERS))
def test_any_text_is_tasks_or_refused(media_type: str, text: str) -> None:
    for content in (
        text,
        f"title,tags,due_date\n{text}",
        f"BEGIN:VCALENDAR\nBEGIN:VTODO\n{text}\nEND:VTODO\nEND:VCALENDAR",
    ):
        try:
            read(content.encode(), media_type, ImportQuery(), SETTINGS)
        except ApiError:
            continue
