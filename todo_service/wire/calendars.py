"""Tasks as an iCalendar file (RFC 5545): one VTODO a task.

Written here and not by `icalendar`: that takes a backslash before an N in a text for a line break, which loses text,
and folds a character at a time.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from todo_service.queries.tasks import TaskRow

OPENING = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Todo Service//Todo Service//EN\r\n"
SEPARATOR = b""
CLOSING = b"END:VCALENDAR\r\n"
PRIORITIES = {"URGENT": 1, "HIGH": 3, "MEDIUM": 5, "LOW": 7}
STATUSES = {"TODO": "NEEDS-ACTION", "IN_PROGRESS": "IN-PROCESS", "COMPLETED": "COMPLETED"}
LONGEST_LINE = 75  # octets, without the line end

_LINE_END = re.compile(r"\r\n|\r")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")  # what TEXT may not hold (section 3.3.11)
_SPECIAL = re.compile(r"[\\;,\n]")


def write(rows: Sequence[TaskRow]) -> bytes:
    """Some tasks, one VTODO each. Seconds are the finest a calendar knows, line ends become line feeds, and control
    characters, which it has not, U+FFFD.
    """
    return b"".join(_folded(line) for row in rows for line in _lines(row))


def _lines(row: TaskRow) -> Iterable[str]:
    yield "BEGIN:VTODO"
    yield f"UID:{row.id}"
    yield f"DTSTAMP:{_moment(row.updated_at)}"
    yield f"CREATED:{_moment(row.created_at)}"
    yield f"LAST-MODIFIED:{_moment(row.updated_at)}"
    yield f"SUMMARY:{escaped(row.title)}"
    if row.description:
        yield f"DESCRIPTION:{escaped(row.description)}"
    if row.due_at is not None:
        yield f"DUE:{_moment(row.due_at)}"
    if row.due_on is not None:
        yield f"DUE;VALUE=DATE:{_day(row.due_on)}"
    yield f"PRIORITY:{PRIORITIES[row.priority]}"
    yield f"STATUS:{STATUSES[row.status]}"
    if row.completed_at is not None:
        yield f"COMPLETED:{_moment(row.completed_at)}"
    if row.tags:
        yield f"CATEGORIES:{','.join(map(escaped, row.tags))}"
    yield "END:VTODO"


def escaped(text: str) -> str:
    """A TEXT value (section 3.3.11)."""
    clean = _CONTROL.sub("\ufffd", _LINE_END.sub("\n", text))
    return _SPECIAL.sub(lambda found: r"\n" if found[0] == "\n" else "\\" + found[0], clean)


def _folded(line: str) -> bytes:
    """The line with its end, in pieces of 75 octets at most that break no character (section 3.1)."""
    raw = line.encode()
    if len(raw) <= LONGEST_LINE:
        return raw + b"\r\n"
    pieces, start, room = [], 0, LONGEST_LINE
    while len(raw) - start > room:
        end = start + room
        while raw[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        pieces.append(raw[start:end])
        start, room = end, LONGEST_LINE - 1  # the space that says "goes on" takes one
    pieces.append(raw[start:])
    return b"\r\n ".join(pieces) + b"\r\n"


def _moment(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _day(value: date) -> str:
    return f"{value:%Y%m%d}"
