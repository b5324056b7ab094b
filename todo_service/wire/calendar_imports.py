"""Calendars that other programs wrote: every VTODO in them is a task, whatever else they hold.

The grammar of lines and values is `icalendar`'s; which lines belong to which VTODO, and where it begins, is found here,
in one pass, because a file from outside may nest as deep and be as broken as it likes.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo, available_timezones

from icalendar.parser import Contentline, split_on_unescaped_comma, unescape_backslash
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from todo_service.errors import FieldError, MalformedBody, invalid
from todo_service.wire.imported_tasks import Record
from todo_service.wire.tasks import read_task_id

UID_NAMESPACE = UUID("5d0c2f0e-6f0b-5c7e-9a41-3d6f1e2b7a90")  # ids of UIDs that are no UUIDs; it never changes
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

_NAME = re.compile(r"[A-Za-z0-9-]{1,40}")
_PLAIN = re.compile(r"([A-Za-z0-9-]+):")
_DAY = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)
_MOMENT = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(Z?)", re.ASCII)


class Line(NamedTuple):
    """A content line, unfolded, and the number of its first physical line."""

    number: int
    text: str


class Property(NamedTuple):
    """A line of a VTODO: its name, its time zone if it names one, its raw value."""

    name: str
    zone: str | None
    value: str


class UnreadableError(Exception):
    """A property cannot be read: a sentence, and a word for programs."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def read(raw: bytes) -> Iterator[Record]:
    """The records of a file. Raises `MalformedBody` if it is not UTF-8, `ValidationFailed` if it is no calendar."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MalformedBody("The body is not UTF-8. Save the file in that encoding.") from None
    return (_record(number, lines) for number, lines in _todos(_unfolded(text)))


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
    """Each VTODO of a VCALENDAR: the number of its first line, and the lines that are its own and no alarm's."""
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
                    raise invalid(f"line {line.number}", "ends what has not begun", "calendar")
                if within == ["VCALENDAR", "VTODO"]:
                    yield begun, own
                within.pop()
            case _:
                if len(within) == 2 and within == ["VCALENDAR", "VTODO"]:
                    own.append(line.text)
    if within or not is_calendar:
        what = "its last component does not end" if is_calendar else "there is no BEGIN:VCALENDAR"
        raise invalid("body", f"is not a whole calendar: {what}", "calendar")


def _record(number: int, lines: list[str]) -> Record:
    task: dict[str, Any] = {}
    seen: dict[str, str] = {}
    wrong: dict[str, FieldError] = {}
    for line in lines:
        name = _NAME.match(line)
        field = FIELDS.get(name[0].upper()) if name else None
        if field is None or field in wrong:
            continue
        try:
            found = _property(line)
            if found.name in seen and found.name != "CATEGORIES":
                raise UnreadableError("is there more than once", "repeated")
            seen[found.name] = found.value
            if field == "tags":
                task.setdefault(field, []).extend(_tags(found.value))
            else:
                task[field] = _value(found)
        except UnreadableError as error:
            wrong[field] = FieldError(field, str(error), error.code)
    _identify(task, seen)
    if "status" not in task and "completed_at" in task:
        task["status"] = "COMPLETED"
    return Record(f"line {number}: ", task, tuple(wrong.values()))


def _identify(task: dict[str, Any], seen: dict[str, str]) -> None:
    """Set the id: the UID if it is a UUID, else one made of it, another one for each instance of a series."""
    uid = seen.get("UID", "").strip()
    instance = seen.get("RECURRENCE-ID")
    task.pop("id", None)
    if instance is not None:
        uid = f"{uid}\n{instance}"
    if uid:
        task["id"] = str(read_task_id(uid) or uuid5(UID_NAMESPACE, uid))


def _property(line: str) -> Property:
    plain = _PLAIN.match(line)
    if plain:  # no parameters: three times as fast
        return Property(plain[1].upper(), None, line[plain.end() :])
    try:
        name, parameters, value = Contentline(line).raw_parts()  # type: ignore[no-untyped-call]
    except ValueError:
        raise UnreadableError("is not a line as RFC 5545 has them", "content_line") from None
    zone = parameters.get("TZID")
    return Property(name.upper(), zone if isinstance(zone, str) else None, value)


def _tags(value: str) -> list[str]:
    return [tag for tag in split_on_unescaped_comma(value) if tag.strip()]


def _value(found: Property) -> str:
    """What the property says, in the words of JSON."""
    match found.name:
        case "STATUS":
            known = STATUSES.get(found.value.strip().upper())
            if known is None:
                raise UnreadableError(f"must be {', '.join(STATUSES)}", "literal_error")
            return known
        case "PRIORITY":
            digit = found.value.strip()
            if len(digit) != 1 or digit not in "0123456789":
                raise UnreadableError("must be a digit, 0 to 9", "priority")
            return PRIORITIES[int(digit)]
        case "DUE" if _DAY.fullmatch(found.value.strip()):
            return "-".join(_DAY.fullmatch(found.value.strip()).groups())  # type: ignore[union-attr]
        case "DUE" | "COMPLETED" | "CREATED" | "LAST-MODIFIED":
            return _moment(found.value.strip(), found.zone)
        case _:
            return str(unescape_backslash(found.value))


def _moment(value: str, zone: str | None) -> str:
    parts = _MOMENT.fullmatch(value)
    if parts is None:
        raise UnreadableError("must be a date (20261224) or a moment (20261224T180000Z)", "moment_format")
    *numbers, utc = parts.groups()
    if not utc and zone is None:
        message = "is a floating time: end it with Z, or name its zone in TZID; it would move by a day for somebody"
        raise UnreadableError(message, "floating_time")
    try:
        moment = datetime(*map(int, numbers), tzinfo=UTC if utc else _zone(zone or ""))  # type: ignore[misc,arg-type]
        return moment.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise UnreadableError("is no moment there is", "moment_format") from None


@cache
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(name: str) -> ZoneInfo:
    """The zone of that name: an IANA name, one of Windows, or an IANA name behind a program's own prefix."""
    parts = name.strip("/").split("/")
    for candidate in (name, WINDOWS_TO_OLSON.get(name, ""), *("/".join(parts[-count:]) for count in (3, 2, 1))):
        if candidate in _known_zones():
            return ZoneInfo(candidate)
    raise UnreadableError("names a time zone not known here: use UTC or a name such as Europe/Berlin", "time_zone")
