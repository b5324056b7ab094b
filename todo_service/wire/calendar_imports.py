"""Calendars of other programs: every VTODO in them is a task, whatever else they hold.

`icalendar` reads the properties of a VTODO, whose lines `calendar_lines` finds: the library keeps no line numbers.
"""

from collections.abc import Iterator
from datetime import date, datetime, tzinfo
from typing import Any
from uuid import UUID, uuid5

from icalendar import vDDDTypes

from todo_service.errors import FieldError, invalid
from todo_service.wire import calendar_lines, calendar_values
from todo_service.wire.calendar_lines import LONGEST
from todo_service.wire.calendar_values import HISTORY, PRIORITIES
from todo_service.wire.import_records import Ignored, ImportOptions, Record, UnreadableError
from todo_service.wire.tasks import parse_task_id
from todo_service.wire.time_zones import Zones

MAX_LINES = 500_000  # a line takes 2 µs; 10,000 tasks of 16 MiB have 350,000
MAX_VALUES = 1000  # of a property; the library takes 5 µs for each, far beyond the number of tags
UID_NAMESPACE = UUID("5d0c2f0e-6f0b-5c7e-9a41-3d6f1e2b7a90")  # ids of UIDs that are not UUIDs; it never changes
FIELDS = {
    "UID": "id",
    "RECURRENCE-ID": "instance",
    "SEQUENCE": "sequence",
    "SUMMARY": "title",
    "DESCRIPTION": "description",
    "STATUS": "status",
    "PERCENT-COMPLETE": "percent",
    "PRIORITY": "priority",
    "DUE": "due_date",
    "DTSTART": "start",
    "DURATION": "duration",
    "CATEGORIES": "tags",
    "CREATED": "created_at",
    "LAST-MODIFIED": "updated_at",
    "COMPLETED": "completed_at",
}
DROPPABLE = HISTORY | {"SEQUENCE", "PERCENT-COMPLETE"}
SPAN = {"DTSTART", "DURATION"}  # stand for DUE together
KEPT_EMPTY = {"SUMMARY", "DESCRIPTION", "CATEGORIES"}  # elsewhere nothing after the colon means absent


def read(raw: bytes, options: ImportOptions, ignored: Ignored) -> Iterator[Record]:
    """Yield the records of a file, and count everything else in `ignored`.

    Raises:
        MalformedBody: It is not UTF-8.
        ValidationFailed: It is not a calendar.
    """
    if raw.count(b"\n") > MAX_LINES:
        raise invalid("body", f"must have at most {MAX_LINES:,} lines", "too_many_lines")
    zones = Zones(calendar_lines.zone_names(raw))
    floating = options.time_zone or zones.default
    for todo in calendar_lines.todos(raw, FIELDS, ignored):
        yield _Reader(todo, zones, floating, ignored).record()


class _Reader:
    """One VTODO on its way to a record."""

    def __init__(self, todo: calendar_lines.Todo, zones: Zones, floating: tzinfo | None, ignored: Ignored) -> None:
        self._todo = todo
        self._zones = zones
        self._floating = floating
        self._ignored = ignored
        self._wrong: list[FieldError] = []
        self._is_span = False

    def record(self) -> Record:
        """Return its record."""
        read = self._read()
        task: dict[str, Any] = {}
        for field in ("title", "description", "priority", "due_date", "tags", "created_at", "updated_at"):
            if field in read:
                task[field] = read[field]
        self._set_due(task, read)
        self._set_status(task, read)
        self._set_id(task, read)
        revision = (read.get("sequence", 0), read.get("updated_at", ""))
        return Record(f"line {self._todo.number}: ", task, tuple(self._wrong), revision)

    def _read(self) -> dict[str, Any]:
        """Return the values of the properties by field, and note those that cannot be read."""
        sent = {name: present for name, its in self._todo.lines.items() if (present := _present(name, its))}
        self._is_span = sent.keys() >= SPAN and "DUE" not in sent
        droppable = DROPPABLE if self._is_span else DROPPABLE | SPAN
        for name in droppable & sent.keys():
            del sent[name][1:]
        refused = {name: refusal for name, its in sent.items() if (refusal := self._refusal(name, its))}
        values = calendar_values.read({name: its for name, its in sent.items() if name not in refused})
        read: dict[str, Any] = {}
        for name, its in sent.items():
            try:
                if name in refused:
                    raise refused[name]
                if len(values.get(name, [])) < len(its):
                    raise UnreadableError("is not a line as RFC 5545 has them", "content_line")
                read[FIELDS[name]] = self._value(name, values[name])
            except UnreadableError as error:
                if name in droppable:
                    self._ignored.property(name)
                else:
                    field = "due_date" if name in SPAN else FIELDS[name]
                    self._wrong.append(FieldError(field, str(error), error.code))
        return read

    def _refusal(self, name: str, lines: list[str]) -> UnreadableError | None:
        """Return the reason why the library must not see the lines of a property."""
        if len(lines) > 1 and name != "CATEGORIES":
            return UnreadableError("is there more than once", "repeated")
        if sum(line.count(",") for line in lines) > MAX_VALUES and name == "CATEGORIES":
            return UnreadableError(f"has more than {MAX_VALUES} values", "too_many")
        if self._todo.lengths[name] > LONGEST:
            return UnreadableError(f"is longer than {LONGEST:,} characters", "too_long")
        return None

    def _value(self, name: str, values: list[Any]) -> Any:
        """Return the value of a property in the terms of JSON, of those that decide others as it is."""
        value = values[0]
        match name:
            case "CATEGORIES":
                return [str(tag) for categories in values for tag in categories if tag.strip()]
            case "STATUS":
                return calendar_values.status(value)
            case "PRIORITY":
                return PRIORITIES[calendar_values.number(value, 9, "must be a digit, 0 to 9", "priority")]
            case "SEQUENCE":
                return calendar_values.number(value, 2**31, "must be a number", "sequence")
            case "PERCENT-COMPLETE":
                return calendar_values.number(value, 100, "must be a number, 0 to 100", "percent")
            case "RECURRENCE-ID" if isinstance(value, vDDDTypes) and isinstance(value.dt, date):
                return value.to_ical().decode()
            case "DUE":
                return calendar_values.moment_or_day(value, self._zones, self._floating).isoformat()
            case "DTSTART":
                return calendar_values.moment_or_day(value, self._zones, self._floating)
            case "DURATION":
                return calendar_values.duration(value)
            case "CREATED" | "LAST-MODIFIED":
                return calendar_values.past(value, self._zones).isoformat()
            case "COMPLETED":
                return calendar_values.day(value) or calendar_values.past(value, self._zones)
            case _:
                return str(value)

    def _set_due(self, task: dict[str, Any], read: dict[str, Any]) -> None:
        """Set the due date: DUE, or the end of DURATION after DTSTART (RFC 5545 section 3.6.2)."""
        span = {"DTSTART": read.get("start"), "DURATION": read.get("duration")}
        if self._is_span and None not in span.values():
            try:
                task["due_date"] = (read["start"] + read["duration"]).isoformat()
            except OverflowError:
                self._wrong.append(FieldError("due_date", "is no moment there is", "moment_format"))
        elif not self._is_span:
            for name, value in span.items():
                if value is not None:
                    self._ignored.property(name)

    @staticmethod
    def _set_status(task: dict[str, Any], read: dict[str, Any]) -> None:
        """Set the status: STATUS, else what COMPLETED or PERCENT-COMPLETE say."""
        completed, percent = read.get("completed_at"), read.get("percent", 0)
        if isinstance(completed, datetime):
            task["completed_at"] = completed.isoformat()
        if "status" in read:
            task["status"] = read["status"]
        elif completed is not None or percent == 100:
            task["status"] = "COMPLETED"
        elif percent:
            task["status"] = "IN_PROGRESS"

    @staticmethod
    def _set_id(task: dict[str, Any], read: dict[str, Any]) -> None:
        """Set the id: the UID if it is a UUID, else one derived from it; each instance of a series has its own."""
        uid = read.get("id", "").strip()
        if "instance" in read:
            uid = f"{uid}\n{read['instance']}"
        if uid:
            task["id"] = str(parse_task_id(uid) or uuid5(UID_NAMESPACE, uid))


def _present(name: str, lines: list[str]) -> list[str]:
    if name in KEPT_EMPTY:
        return lines
    return [line for line in lines if ":" not in line or line.partition(":")[2].strip()]
