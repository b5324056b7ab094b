"""Round trips of every task there may be, and hostile files: a refusal in time, never a defect."""

import random
import time
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar

from todo_service.errors import ApiError
from todo_service.queries.tasks import TaskRow
from todo_service.queries.transfers import SentTask
from todo_service.settings import Settings
from todo_service.wire import imported_tasks
from todo_service.wire.calendars import escaped
from todo_service.wire.transfers import BY_MEDIA_TYPE, FORMATS, read

SETTINGS = Settings(_env_file=None)
MEBIBYTE = 2**20
CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
STRANGE = st.text(st.sampled_from("'=+-@ \t\r\n\\\\,;:\"nN\x01\x85\u2028\ufeffé漢👩\u200d"), max_size=90)
TEXT = STRANGE | st.text(CHARACTERS, max_size=200)
TITLE = TEXT.map(str.strip).filter(bool).map(lambda text: text[:255].strip()).filter(bool)
MOMENT = st.datetimes(datetime(1970, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
DUE = st.one_of(
    st.just((None, None)),
    MOMENT.map(lambda moment: (moment, None)),
    st.dates(date(1970, 1, 1), date(9998, 12, 31)).map(lambda day: (None, day)),
)


@st.composite
def rows(draw: st.DrawFn) -> TaskRow:
    status = draw(st.sampled_from(["TODO", "IN_PROGRESS", "COMPLETED"]))
    tags = draw(st.lists(TITLE.map(lambda text: text[:50].strip()).filter(bool), max_size=20, unique=True))
    due_at, due_on = draw(DUE)
    return TaskRow(
        draw(st.uuids()), "ada", draw(TITLE), draw(st.none() | TEXT), status,
        draw(st.sampled_from(["URGENT", "HIGH", "MEDIUM", "LOW"])), due_at, due_on, tags, draw(MOMENT), draw(MOMENT),
        draw(MOMENT) if status == "COMPLETED" else None, 7,
    )  # fmt: skip


FILES = st.lists(rows(), max_size=4, unique_by=lambda row: row.id)


def through(name: str, tasks: list[TaskRow]) -> list[SentTask]:
    """The tasks, written and read again."""
    file = FORMATS[name]
    parts = file.separator.join(file.write([task]) for task in tasks)
    return imported_tasks.check(file.read(file.opening + parts + file.closing), settings=SETTINGS)


def fields(task: TaskRow | SentTask, **others: Any) -> dict[str, Any]:
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
    assert [str(todo["SUMMARY"]) for todo in todos] == [plain(task.title) for task in tasks]
    assert [str(todo.get("DESCRIPTION", "")) for todo in todos] == [plain(task.description or "") for task in tasks]


def test_a_backslash_before_an_n_is_no_line_break() -> None:
    assert escaped("C:\\New\\no,;") == r"C:\\New\\no\,\;"


def todo(*lines: str) -> bytes:
    return "\n".join(["BEGIN:VCALENDAR", "BEGIN:VTODO", *lines, "END:VTODO", "END:VCALENDAR"]).encode()


DICE = random.Random(7)  # noqa: S311
HOSTILE: list[tuple[str, bytes]] = [
    *((name, DICE.randbytes(MEBIBYTE)) for name in BY_MEDIA_TYPE),
    *((name, bytes(DICE.choices(b"ab,;:=\"\r\n \\'BEGIN:VTODO", k=MEBIBYTE))) for name in BY_MEDIA_TYPE),
    *((name, bytes(MEBIBYTE)) for name in BY_MEDIA_TYPE),
    ("application/json", b"[" * MEBIBYTE),
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
]


@pytest.mark.parametrize(("media_type", "raw"), HOSTILE, ids=lambda value: str(value[:24]))
def test_a_hostile_file_is_refused_in_time(media_type: str, raw: bytes) -> None:
    started = time.process_time()
    with pytest.raises(ApiError):
        read(raw, media_type, SETTINGS)
    assert time.process_time() - started < 3


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
            read(content.encode(), media_type, SETTINGS)
        except ApiError:
            continue
