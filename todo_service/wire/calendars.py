"""Tasks as an iCalendar file (RFC 5545): one VTODO a task, written by `icalendar`."""

import re
from codecs import BOM_UTF8
from collections.abc import Sequence

from icalendar import Calendar, Todo, vCategory, vText

from todo_service.queries.task_rows import TaskRow

PRIORITIES = {"URGENT": 1, "HIGH": 3, "MEDIUM": 5, "LOW": 7}
STATUSES = {"TODO": "NEEDS-ACTION", "IN_PROGRESS": "IN-PROCESS", "COMPLETED": "COMPLETED"}

PERCENT = {"TODO": 0, "IN_PROGRESS": 50, "COMPLETED": 100}

EXAMPLE = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//Somebody//EN\r
BEGIN:VTODO\r
UID:5f0c1c3e-8f1b-4c5e-9a52-3d1f7a1b2c3d\r
DTSTAMP:20261121T131616Z\r
SUMMARY:Write to Charles\r
DUE;VALUE=DATE:20261224\r
END:VTODO\r
END:VCALENDAR\r
"""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # not allowed in TEXT (section 3.3.11); no line ends


class Texts(vCategory):
    """Texts that survive a round trip, except for line ends, which become line feeds, and control characters, which
    become U+FFFD.
    """

    def to_ical(self) -> bytes:
        """TEXT values (section 3.3.11), separated by commas."""
        raw = b",".join(map(_escaped, self))
        return BOM_UTF8 + raw if raw.startswith(BOM_UTF8) else raw  # the library removes one


def _escaped(text: str) -> bytes:
    # The library takes a backslash before an N for a line break, so it gets a NUL there, which no valid text has.
    hidden = _CONTROL.sub("\ufffd", text).replace(r"\N", "\0")
    return vText(hidden).to_ical().replace(b"\0", rb"\\N")


def _frame() -> tuple[bytes, bytes]:
    """Return the lines before the tasks and after them."""
    calendar = Calendar()
    calendar.add("VERSION", "2.0")
    calendar.add("PRODID", "-//Todo Service//Todo Service//EN")
    end = b"END:VCALENDAR\r\n"
    return calendar.to_ical().removesuffix(end), end


OPENING, CLOSING = _frame()
SEPARATOR = b""


def write(rows: Sequence[TaskRow]) -> bytes:
    """Return some tasks, one VTODO each. A calendar is exact to the second."""
    return b"".join(_todo(row).to_ical() for row in rows)


def _todo(row: TaskRow) -> Todo:
    todo = Todo()
    todo.add("UID", str(row.id))
    todo.add("DTSTAMP", row.updated_at)
    todo.add("CREATED", row.created_at)
    todo.add("LAST-MODIFIED", row.updated_at)
    todo.add("SUMMARY", Texts([row.title]))
    if row.description:
        todo.add("DESCRIPTION", Texts([row.description]))
    due = row.due_at or row.due_on
    if due is not None:
        todo.add("DUE", due)
    todo.add("PRIORITY", PRIORITIES[row.priority])
    todo.add("STATUS", STATUSES[row.status])
    todo.add("PERCENT-COMPLETE", PERCENT[row.status])
    if row.completed_at is not None:
        todo.add("COMPLETED", row.completed_at)
    if row.tags:
        todo.add("CATEGORIES", Texts(row.tags))
    return todo
