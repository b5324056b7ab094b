"""The common ground of the readers of imported files: options in, records and a count of everything not taken out."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Literal, NamedTuple

from todo_service.errors import FieldError, MalformedBody
from todo_service.wire.text import readable

MAX_NAMES = 100  # names of each kind that are counted; further ones are counted together
MAX_NAME = 80  # characters
OTHERS = "others"


def decode(raw: bytes) -> str:
    """Return the text of a file, without its byte order mark. Raises `MalformedBody` if it is not UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MalformedBody("The body is not UTF-8. Save the file in that encoding.") from None


class UnreadableError(Exception):
    """A property or a cell cannot be read: a sentence, and a word for programs."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The reading of what a file leaves open.

    Attributes:
        time_zone: The zone of times without one.
        dates: The order of day and month in dates that a spreadsheet has rewritten: month first, or day first.
    """

    time_zone: tzinfo | None = None
    dates: Literal["mdy", "dmy"] | None = None


class Record(NamedTuple):
    """One record of a file.

    Attributes:
        place: The prefix of its fields in an error, such as "line 17: ".
        document: Its fields as JSON.
        unreadable: The fields that could not be read.
        is_last: Whether nothing behind it can be read.
        revision: The number and the time of its revision, where a file may hold several revisions of one task.
    """

    place: str
    document: object
    unreadable: tuple[FieldError, ...] = ()
    revision: tuple[int, str] | None = None
    is_last: bool = False


@dataclass(slots=True)
class Ignored:
    """Everything in a file that is not taken over: columns by name, components and properties with their numbers."""

    columns: list[str] = field(default_factory=list)
    components: Counter[str] = field(default_factory=Counter)
    properties: Counter[str] = field(default_factory=Counter)

    def column(self, name: str) -> None:
        """Note a column of a table."""
        self.columns.append(readable(name)[:MAX_NAME] if len(self.columns) < MAX_NAMES else OTHERS)

    def component(self, name: str) -> None:
        """Count a component of a calendar."""
        _count(self.components, name)

    def property(self, name: str) -> None:
        """Count a property of a task."""
        _count(self.properties, name)

    def document(self) -> dict[str, object]:
        """Return the counts for an answer."""
        return {
            "columns": list(dict.fromkeys(self.columns)),
            "components": dict(self.components),
            "properties": dict(self.properties),
        }


def _count(counts: Counter[str], name: str) -> None:
    name = readable(name)[:MAX_NAME]
    counts[name if name in counts or len(counts) < MAX_NAMES else OTHERS] += 1
