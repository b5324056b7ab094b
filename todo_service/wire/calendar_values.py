"""The values of a VTODO's properties, as `icalendar` reads them, in the terms of tasks."""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from icalendar import Component, Todo, vBroken, vDDDTypes

from todo_service.wire.due_dates import FIRST_YEAR, LAST_YEAR
from todo_service.wire.import_records import UnreadableError
from todo_service.wire.time_zones import Zones

STATUSES = {
    "NEEDS-ACTION": "TODO",
    "IN-PROCESS": "IN_PROGRESS",
    "COMPLETED": "COMPLETED",
    "CANCELLED": "COMPLETED",
}
PRIORITIES = ("MEDIUM", "URGENT", "HIGH", "HIGH", "HIGH", "MEDIUM", "LOW", "LOW", "LOW", "LOW")
HISTORY = {"CREATED", "LAST-MODIFIED", "COMPLETED"}  # moments of the past: in UTC, and dropped if unreadable
MOMENTS = HISTORY | {"RECURRENCE-ID", "DUE", "DTSTART"}

# The library would read any property as the type that VALUE names, and look up TZID part by part in files, with errors
# that escape it and a cache that never shrinks. So it gets them under other names.
_PREFIX = "X-TODO-SERVICE-"
_HEAD = re.compile(r'(?:[^":]|"[^"]*"?)*')
_HIDDEN = re.compile(r";[ \t]*(VALUE|TZID)[ \t]*=", re.IGNORECASE)


class Tolerant(Todo):
    """A VTODO that marks unreadable properties, where `Todo` refuses the whole."""

    name = _PREFIX + "VTODO"
    ignore_exceptions = True


Component.register(Tolerant)


def read(sent: dict[str, list[str]]) -> dict[str, list[Any]]:
    """Return the library's values of the lines by name. A malformed line has no value."""
    lines = (_hidden(line.rstrip() if name in MOMENTS else line) for name, its in sent.items() for line in its)
    todo = Component.from_ical("\r\n".join((f"BEGIN:{Tolerant.name}", *lines, f"END:{Tolerant.name}")))
    return {name: values if isinstance(values, list) else [values] for name, values in todo.items()}


def _hidden(line: str) -> str:
    """Return a line with other names for two parameters; its value, behind the first colon outside quotes, stays."""
    head = _HEAD.match(line)
    assert head is not None
    return _HIDDEN.sub(rf";{_PREFIX}\1=", head[0]) + line[head.end() :]


def status(value: str) -> str:
    known = STATUSES.get(value.strip().upper())
    if known is None:
        raise UnreadableError(f"must be {', '.join(STATUSES)}", "literal_error")
    return known


def number(value: Any, most: int, message: str, code: str) -> int:
    if isinstance(value, vBroken) or not 0 <= value <= most:
        raise UnreadableError(message, code)
    return int(value)


def duration(value: Any) -> timedelta:
    length = None if isinstance(value, vBroken) else getattr(value, "td", None)
    if not isinstance(length, timedelta):
        raise UnreadableError("must be a duration such as PT2H", "duration")
    return length


def day(value: Any) -> date | None:
    """Return a plain day that there is, else None."""
    found = value.dt if isinstance(value, vDDDTypes) else None
    if not isinstance(found, date) or isinstance(found, datetime) or not FIRST_YEAR <= found.year <= LAST_YEAR:
        return None
    return found


def moment_or_day(value: Any, zones: Zones, floating: tzinfo | None) -> datetime | date:
    """Return a day, or a moment in UTC."""
    moment = value.dt if isinstance(value, vDDDTypes) else None
    if not isinstance(moment, date):
        raise UnreadableError("must be a date (20261224) or a moment (20261224T180000Z)", "moment_format")
    if not isinstance(moment, datetime) or str(value.params.get(_PREFIX + "VALUE")).upper() == "DATE":
        return date(moment.year, moment.month, moment.day)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=_zone(value.params.get(_PREFIX + "TZID"), zones, floating))
    try:
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnreadableError("is no moment there is", "moment_format") from None


def past(value: Any, zones: Zones) -> datetime:
    """Return a moment of the past."""
    moment = moment_or_day(value, zones, UTC)
    if not isinstance(moment, datetime) or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise UnreadableError("is no moment there is", "moment_format")
    return moment


def _zone(name: object, zones: Zones, floating: tzinfo | None) -> tzinfo:
    if not isinstance(name, str):
        if floating is not None:
            return floating
        message = (
            "is a floating time: end it with Z, name its zone in TZID, or send the zone of all of them as "
            "?time_zone=Europe/Berlin; it could move by a day"
        )
        raise UnreadableError(message, "floating_time")
    zone = zones[name]
    if zone is None:
        message = "names a time zone not known here: use UTC or a name such as Europe/Berlin"
        raise UnreadableError(message, "time_zone")
    return zone
