"""The lines of a calendar file: unfolded, decoded, and sorted by the component that they belong to.

A file may be hostile: it is read line by line, only lines of known properties are kept, and none beyond `LONGEST`.
"""

import base64
import binascii
import io
import quopri
import re
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from todo_service.errors import MalformedBody, invalid
from todo_service.wire.import_records import Ignored

LONGEST = 65_536  # characters of a property: a mebibyte of categories takes the library 130 MB, and stalls when freed
MAX_BYTES = 4 * LONGEST  # of a line; the rest of a longer one is dropped, which is refused anyway
MAX_HEAD = 1000  # bytes of a line in which an encoding is looked for
CHARSETS = {  # by their names in small letters: Python knows others, some of them slow, and remembers each unknown name
    name: name
    for name in (
        "utf-8", "us-ascii", "shift_jis", "gb2312", "big5", "euc-kr", "koi8-r",
        *(f"iso-8859-{part}" for part in (*range(1, 12), *range(13, 17))),
        *(f"windows-{page}" for page in range(1250, 1259)),
    )
}  # fmt: skip
QUOTED_PRINTABLE = b"QUOTED-PRINTABLE"
UNCOUNTED = {"DTSTAMP", "VERSION", "PRODID"}  # the file's own, not a task's
FRAMES = {"VCALENDAR", "VTIMEZONE", "STANDARD", "DAYLIGHT"}

_NAME = re.compile(r"[\w.-]{1,40}", re.ASCII)
_ENCODING = re.compile(r";\s*(?:ENCODING\s*=\s*)?(QUOTED-PRINTABLE|BASE64)(?=[;:])", re.IGNORECASE)
_CHARSET = re.compile(r";\s*CHARSET\s*=\s*\"?([\w.-]{1,40})\"?", re.IGNORECASE)


class Line(NamedTuple):
    """A content line, unfolded, and the number of its first physical line."""

    number: int
    text: str


@dataclass(slots=True)
class Todo:
    """A VTODO: the number of its first line, and the lines of the supported properties by name."""

    number: int
    lines: dict[str, list[str]] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, text: str) -> None:
        """Keep a line, but nothing of a property beyond `LONGEST`."""
        length = self.lengths.get(name, 0)
        self.lengths[name] = length + len(text)
        if length <= LONGEST:
            self.lines.setdefault(name, []).append(text[: LONGEST + 1])


@dataclass(slots=True)
class ZoneNames:
    """The names of time zones in a calendar: those its own definitions stand for, and the zone of floating times."""

    locations: dict[str, str] = field(default_factory=dict)
    default: str | None = None


def todos(raw: bytes, supported: Collection[str], ignored: Ignored) -> Iterator[Todo]:
    """Yield each VTODO of a VCALENDAR, without the lines of its alarms, and count everything else.

    Raises:
        MalformedBody: A line is not UTF-8.
        ValidationFailed: It is not a whole calendar.
    """
    todo: Todo | None = None
    for path, line, name, value in _walk(raw):
        match name:
            case "BEGIN" if path == ["VCALENDAR", "VTODO"]:
                todo = Todo(line.number)
            case "BEGIN":
                if path[-1] not in FRAMES:
                    ignored.component(path[-1])
            case "END" if path == ["VCALENDAR", "VTODO"]:
                assert todo is not None
                yield todo
            case "END":
                pass
            case _ if path == ["VCALENDAR", "VTODO"]:
                assert todo is not None
                if name in supported:
                    todo.add(name, _decoded(line.text))
                elif name not in UNCOUNTED and value.strip():
                    ignored.property(name)


def zone_names(raw: bytes) -> ZoneNames:
    """Return the names of zones in a file. Definitions may stand after the tasks that name them.

    Raises as `todos` does.
    """
    names = ZoneNames()
    upper = raw.upper()
    if b"X-LIC-LOCATION" not in upper and b"X-WR-TIMEZONE" not in upper:
        return names
    zone = ""
    for path, _, name, value in _walk(raw):
        if path == ["VCALENDAR"] and name == "X-WR-TIMEZONE":
            differs = names.default not in {None, value.strip()}
            names.default = "" if differs else value.strip()  # several calendars in one file name several zones
        elif path == ["VCALENDAR", "VTIMEZONE"]:
            if name == "BEGIN":
                zone = location = ""
            elif name == "TZID":
                zone = value.strip()
            elif name == "X-LIC-LOCATION":
                location = value.strip()
            elif name == "END" and location:
                names.locations[zone] = location
    return names


def _walk(raw: bytes) -> Iterator[tuple[list[str], Line, str, str]]:
    """Yield each line with the components it is in, its name in capitals, and its value.

    BEGIN and END are within the component that they begin and end.
    """
    path: list[str] = []
    is_calendar = False
    for line in _unfolded(raw):
        head, _, value = line.text.partition(":")
        name = head.strip().upper()
        if name == "BEGIN":
            path.append(value.strip().upper())
            is_calendar = is_calendar or path == ["VCALENDAR"]
        elif name != "END":
            match = _NAME.match(line.text)
            name = match[0].upper() if match else ""
            name = "" if name in {"BEGIN", "END"} else name  # in disguise, with a parameter
        elif not path or path[-1] != value.strip().upper():
            raise invalid(f"line {line.number}", "ends a component that has not begun", "calendar")
        yield path, line, name, value
        if name == "END":
            path.pop()
    if path or not is_calendar:
        reason = "its last component does not end" if is_calendar else "there is no BEGIN:VCALENDAR"
        raise invalid("body", f"is not a whole calendar: {reason}", "calendar")


def _unfolded(raw: bytes) -> Iterator[Line]:
    """Yield the content lines. A fold may split a character, so lines are unfolded first, then decoded (RFC 5545 3.1).

    A line in quoted-printable (vCalendar 1.0) goes on where it ends in `=`.
    """
    number, parts, length = 1, [b""], 0
    is_quoted = goes_on = False
    for index, physical in enumerate(io.BytesIO(raw.removeprefix(BOM_UTF8)), start=1):
        line = physical.rstrip(b"\r\n")
        if goes_on:
            pass
        elif line[:1] in {b" ", b"\t"}:
            line = line[1:]
        else:
            if any(parts):
                yield _line(number, parts)
            number, parts, length = index, [], 0
            is_quoted = QUOTED_PRINTABLE in line[:MAX_HEAD].partition(b":")[0].upper()
        goes_on = is_quoted and line.endswith(b"=")
        if length <= MAX_BYTES:
            parts.append(line[:-1] if goes_on else line)
            length += len(line)
    if any(parts):
        yield _line(number, parts)


def _line(number: int, parts: list[bytes]) -> Line:
    raw = b"".join(parts)
    try:
        return Line(number, raw.decode(errors="strict" if len(raw) <= MAX_BYTES else "ignore"))
    except UnicodeDecodeError:
        message = f"Line {number} of the file is not UTF-8. Save the file in that encoding."
        raise MalformedBody(message) from None


def _decoded(line: str) -> str:
    """Return the line with its value as RFC 5545 writes it, where vCalendar 1.0 has encoded it."""
    head, colon, value = line.partition(":")
    encoding = _ENCODING.search(head + colon)
    if encoding is None:
        return line
    charset = _CHARSET.search(head)
    name = charset[1].lower() if charset else "utf-8"
    decode = quopri.decodestring if encoding[1].upper() == "QUOTED-PRINTABLE" else base64.b64decode
    try:
        text = decode(value[:MAX_BYTES].encode()).decode(CHARSETS[name])
    except (binascii.Error, LookupError, ValueError):
        return "\0"  # not a content line, and named so
    text = re.sub(r"\r\n|\r|\n", r"\\n", text)
    return _CHARSET.sub("", _ENCODING.sub("", head + colon)) + text
