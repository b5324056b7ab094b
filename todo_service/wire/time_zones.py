"""Time zones by the names that people and programs give them."""

import re
from datetime import UTC, timedelta, timezone, tzinfo
from functools import cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from icalendar.timezone import tzp
from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from todo_service.wire.calendar_lines import ZoneNames

MOST_LOOKED_UP = 200  # names of a file; an unknown one costs the library ten files

_OFFSET = re.compile(r"\(?(?:UTC|GMT)? ?([+-])(\d{1,2})(?::?([0-5]\d))?(?:\).*)?", re.ASCII | re.IGNORECASE)
_UTC = {"utc", "gmt", "z", "(utc)", "(gmt)"}
_WINDOWS = re.compile(r"UTC[+-]\d\d|[\w.]+( [\w.()]+)+", re.ASCII)
_LONGEST = 40
_MOST_HOURS = 14


@cache
def _zone_names() -> dict[str, str]:
    """Return each IANA name by its spelling in small letters."""
    return {name.lower(): name for name in available_timezones()}


def find(name: str) -> tzinfo | None:
    """Return the zone with an IANA name, in any letter case, or with a fixed offset such as `UTC+01:00`."""
    known = _zone_names().get(name.lower())
    if known is not None:
        return ZoneInfo(known)
    if name.lower() in _UTC:
        return UTC
    match = _OFFSET.fullmatch(name)
    if match is None or int(match[2]) > _MOST_HOURS:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    return timezone(-offset if match[1] == "-" else offset)


def _iana_name(value: str) -> str:
    known = _zone_names().get(value.lower())
    if known is None:
        raise PydanticCustomError("time_zone", "must be the name of a time zone, such as Europe/Berlin")
    return known


TimeZone = Annotated[
    str, AfterValidator(_iana_name), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin"]})
]  # an IANA name


class Zones(dict[str, tzinfo | None]):
    """The zones that a calendar names: by an IANA name, behind a program's own prefix too, a Windows name, a fixed
    offset, or a name that its own definitions explain.

    Attributes:
        default: The zone of times without one, if the calendar names it.
    """

    def __init__(self, names: ZoneNames | None = None) -> None:
        super().__init__()
        self._locations = names.locations if names else {}
        self.default = self[names.default] if names and names.default else None

    def __missing__(self, name: str) -> tzinfo | None:
        for explained in filter(None, (self._locations.get(name), name)):
            zone = self._find(explained.strip())
            if zone is not None:
                return zone
        return None

    def _find(self, name: str) -> tzinfo | None:
        parts = name[-255:].strip("/").split("/")
        for candidate in ("/".join(parts[-count:]) for count in (3, 2, 1)):
            zone = find(candidate)
            if zone is not None:
                return zone
        if len(self) < MOST_LOOKED_UP and len(name) <= _LONGEST and _WINDOWS.fullmatch(name):
            return self.setdefault(name, tzp.timezone(name))
        return None
