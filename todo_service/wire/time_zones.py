"""Time zones in the files of other programs."""

import re
from datetime import tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from icalendar.timezone import tzp

MOST_LOOKED_UP = 200  # names of a file; an unknown one costs the library ten files

_WINDOWS = re.compile(r"UTC[+-]\d\d|[\w.]+( [\w.()]+)+", re.ASCII)
_LONGEST = 40


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


class Zones(dict[str, tzinfo | None]):
    """The zones that a file names: by an IANA name, a Windows name, or an IANA name behind a program's own prefix."""

    def __missing__(self, name: str) -> tzinfo | None:
        parts = name[-255:].strip("/").split("/")
        for candidate in ("/".join(parts[-count:]) for count in (3, 2, 1)):
            if candidate in _zone_names():
                return ZoneInfo(candidate)
        if len(self) < MOST_LOOKED_UP and len(name) <= _LONGEST and _WINDOWS.fullmatch(name):
            return self.setdefault(name, tzp.timezone(name))
        return None
