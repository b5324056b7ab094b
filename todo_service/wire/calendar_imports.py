"""Calendars of other programs: every VTODO in them is a task, whatever else they hold.

`icalendar` reads the properties of a VTODO. The start of each VTODO and the lines that belong to it are located here,
in one pass, because the library keeps no line numbers, and a file may nest arbitrarily deep.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, tzinfo
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from icalendar import Component, Todo, vBroken, vDDDTypes

from todo_service.errors import FieldError, MalformedBody, invalid
from todo_service.wire.imported_tasks import Record
from todo_service.wire.tasks import parse_task_id
from todo_service.wire.time_zones import Zones

UID_NAMESPACE = UUID("5d0c2f0e-6f0b-5c7e-9a41-3d6f1e2b7a90")  # ids of UIDs that are not UUIDs; it never changes
STATUSES = {
    "NEEDS-ACTION": "TODO",
    "IN-PROCESS": "IN_PROGRESS",
    "COMPLETED": "COMPLETED",
    "CANCELLED": "COMPLETED",
}
PRIORITIES = ("MEDIUM", "URGENT", "HIGH", "HIGH", "HIGH", "MEDIUM", "LOW", "LOW", "LOW", "LOW")
FIELDS = {
    "UID": "id",
    "RECURRENCE-ID": "instance",
    "SUMMARY": "title",
    "DESCRIPTION": "description",
    "STATUS": "status",
    "PRIORITY": "priority",
    "DUE": "due_date",
    "CATEGORIES": "tags",
    "CREATED": "created_at",
    "LAST-MODIFIED": "updated_at",
    "COMPLETED": "completed_at",
}
MOMENTS = {"RECURRENCE-ID", "DUE", "CREATED", "LAST-MODIFIED", "COMPLETED"}
LONGEST = 65_536  # characters of a property: a mebibyte of categories takes the library 130 MB, and stalls when freed

_NAME = re.compile(r"[\w.-]{1,40}")
# The library would read any property as the type that VALUE names, and look up TZID part by part in files, with errors
# that escape it and a cache that never shrinks. So it gets them under other names.
_PREFIX = "X-TODO-SERVICE-"
_HIDDEN = re.compile(r";[ \t]*(VALUE|TZID)[ \t]*=", re.IGNORECASE)


class Tolerant(Todo):
    """A VTODO that marks unreadable properties, where `Todo` refuses the whole."""

    name = _PREFIX + "VTODO"
    ignore_exceptions = True


Component.register(Tolerant)


class Line(NamedTuple):
    """A content line, unfolded, and the number of its first physical line."""

    number: int
    text: str


class UnreadableError(Exception):
    """A property cannot be read: a sentence, and a word for programs."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def read(raw: bytes) -> Iterator[Record]:
    """Yield the records of a file.

    Raises `MalformedBody` if it is not UTF-8, `ValidationFailed` if it is not a calendar.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MalformedBody("The body is not UTF-8. Save the file in that encoding.") from None
    zones = Zones()
    return (_record(number, lines, zones) for number, lines in _todos(_unfolded(text)))


def _unfolded(text: str) -> Iterator[Line]:
    number, parts = 1, [""]
    for index, physical in enumerate(text.split("\n"), start=1):
        line = physical.removesuffix("\r")
        if line[:1] in {" ", "\t"}:
            parts.append(line[1:])
            continue
        if any(parts):
            yield Line(number, "".join(parts))
        number, parts = index, [line]
    if any(parts):
        yield Line(number, "".join(parts))


def _todos(lines: Iterator[Line]) -> Iterator[tuple[int, list[str]]]:
    """Yield each VTODO of a VCALENDAR: the number of its first line, and its own lines without those of alarms."""
    within: list[str] = []
    begun, own = 0, list[str]()
    is_calendar = False
    for line in lines:
        name, _, value = line.text.partition(":")
        match name.strip().upper():
            case "BEGIN":
                within.append(value.strip().upper())
                is_calendar = is_calendar or within == ["VCALENDAR"]
                if within == ["VCALENDAR", "VTODO"]:
                    begun, own = line.number, []
            case "END":
                if not within or within[-1] != value.strip().upper():
                    raise invalid(f"line {line.number}", "ends a component that has not begun", "calendar")
                if within == ["VCALENDAR", "VTODO"]:
                    yield begun, own
                within.pop()
            case _:
                if len(within) == 2 and within == ["VCALENDAR", "VTODO"]:
                    own.append(line.text)
    if within or not is_calendar:
        reason = "its last component does not end" if is_calendar else "there is no BEGIN:VCALENDAR"
        raise invalid("body", f"is not a whole calendar: {reason}", "calendar")


def _record(number: int, lines: list[str], zones: Zones) -> Record:
    task: dict[str, Any] = {}
    wrong: list[FieldError] = []
    sent = _supported(lines)
    refused = {name: refusal for name, its in sent.items() if (refusal := _refusal(name, its))}
    values = _values({name: its for name, its in sent.items() if name not in refused})
    for name, its in sent.items():
        try:
            if name in refused:
                raise refused[name]
            if len(values.get(name, [])) < len(its):
                raise UnreadableError("is not a line as RFC 5545 has them", "content_line")
            task[FIELDS[name]] = _tags(values[name]) if name == "CATEGORIES" else _value(name, values[name][0], zones)
        except UnreadableError as error:
            wrong.append(FieldError(FIELDS[name], str(error), error.code))
    _identify(task)
    if "status" not in task and "completed_at" in task:
        task["status"] = "COMPLETED"
    return Record(f"line {number}: ", task, tuple(wrong))


def _supported(lines: list[str]) -> dict[str, list[str]]:
    """Return the lines of the supported properties by name. No other reaches the library, and no BEGIN in disguise."""
    supported: dict[str, list[str]] = {}
    for line in lines:
        match = _NAME.match(line)
        name = match[0].upper() if match else ""
        if name in FIELDS:
            supported.setdefault(name, []).append(line.rstrip() if name in MOMENTS else line)
    return supported


def _refusal(name: str, lines: list[str]) -> UnreadableError | None:
    """Return the reason why the library must not see the lines of a property."""
    if len(lines) > 1 and name != "CATEGORIES":
        return UnreadableError("is there more than once", "repeated")
    if sum(map(len, lines)) > LONGEST:
        return UnreadableError(f"is longer than {LONGEST:,} characters", "too_long")
    return None


def _values(sent: dict[str, list[str]]) -> dict[str, list[Any]]:
    """Return the library's values of the lines by name. A malformed line has no value."""
    lines = (_HIDDEN.sub(rf";{_PREFIX}\1=", line) for line in chain.from_iterable(sent.values()))
    todo = Component.from_ical("\r\n".join((f"BEGIN:{Tolerant.name}", *lines, f"END:{Tolerant.name}")))
    return {name: values if isinstance(values, list) else [values] for name, values in todo.items()}


def _identify(task: dict[str, Any]) -> None:
    """Set the id: the UID if it is a UUID, else one derived from it, a different one for each instance of a series."""
    uid = task.pop("id", "").strip()
    instance = task.pop("instance", None)
    if instance is not None:
        uid = f"{uid}\n{instance}"
    if uid:
        task["id"] = str(parse_task_id(uid) or uuid5(UID_NAMESPACE, uid))


def _tags(values: list[Any]) -> list[str]:
    return [str(tag) for categories in values for tag in categories if tag.strip()]


def _value(name: str, value: Any, zones: Zones) -> str:
    """Return the value of a property in the terms of JSON."""
    match name:
        case "STATUS":
            status = STATUSES.get(value.strip().upper())
            if status is None:
                raise UnreadableError(f"must be {', '.join(STATUSES)}", "literal_error")
            return status
        case "PRIORITY":
            if isinstance(value, vBroken) or not 0 <= value < len(PRIORITIES):
                raise UnreadableError("must be a digit, 0 to 9", "priority")
            return PRIORITIES[value]
        case "RECURRENCE-ID" if isinstance(value, vDDDTypes) and isinstance(value.dt, date):
            return value.to_ical().decode()
        case "DUE" if isinstance(value, vDDDTypes) and type(value.dt) is date:
            return value.dt.isoformat()
        case "DUE" | "COMPLETED" | "CREATED" | "LAST-MODIFIED":
            return _moment(value, zones)
        case _:
            return str(value)


def _moment(value: Any, zones: Zones) -> str:
    moment = value.dt if isinstance(value, vDDDTypes) else None
    if not isinstance(moment, datetime):
        raise UnreadableError("must be a date (20261224) or a moment (20261224T180000Z)", "moment_format")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=_zone(value.params.get(_PREFIX + "TZID"), zones))
    try:
        return moment.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise UnreadableError("is no moment there is", "moment_format") from None


def _zone(name: object, zones: Zones) -> tzinfo:
    if not isinstance(name, str):
        message = "is a floating time: end it with Z, or name its zone in TZID; it could move by a day"
        raise UnreadableError(message, "floating_time")
    zone = zones[name]
    if zone is None:
        message = "names a time zone not known here: use UTC or a name such as Europe/Berlin"
        raise UnreadableError(message, "time_zone")
    return zone
