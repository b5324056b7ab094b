"""Text types of several subjects, and the formats of moments and due dates."""

import re
import unicodedata
from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, JsonValue, WithJsonSchema
from pydantic_core import PydanticCustomError

# Letters, signs and marks that Unicode draws as nothing (Default_Ignorable_Code_Point), and the blank of Braille.
UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | {
    *map(chr, range(0xFE00, 0xFE10)),
    *map(chr, range(0xE0100, 0xE01F0)),
}
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
MAX_WHOLE_NUMBER = 10**18 - 1


def _encodable(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("string_unicode", "must not contain a lone surrogate") from None
    return value


def _storable(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul_character", "must not contain U+0000")
    return _encodable(value)


def whole_number(value: object) -> object:
    """Parse a query parameter in ASCII digits; signs, spaces, underscores and other digits are refused."""
    if not isinstance(value, str) or not _DIGITS.fullmatch(value):
        raise PydanticCustomError("whole_number", "must be a whole number, in digits")
    return int(value)


ENCODABLE = AfterValidator(_encodable)  # text that can be encoded as UTF-8
STORABLE = AfterValidator(_storable)  # text that PostgreSQL can store
WITHOUT_NUL: dict[str, JsonValue] = {"pattern": r"^[^\x00]*$"}
Written = Annotated[
    datetime, WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-21T13:16:16.076896Z"]})
]  # the format of `format_moment`


def format_moment(value: datetime) -> str:
    """Format a moment in UTC as RFC 3339 with microseconds: `2026-11-21T12:00:00.000000Z`."""
    return value.isoformat(timespec="microseconds")[:-6] + "Z"


def format_due_date(due_at: datetime | None, due_on: date | None) -> str | None:
    """Format a due date: a moment in UTC with `Z`, or a plain date."""
    if due_at is not None:
        return due_at.isoformat()[:-6] + "Z"
    return due_on.isoformat() if due_on is not None else None


def readable(name: str) -> str:
    """Return a name that a client chose as text that can be sent back: `?` for each lone surrogate."""
    return name.encode(errors="replace").decode()


def is_invisible(text: str) -> bool:
    """Return whether nothing of a text can be seen: controls, formats, spaces, blank letters, selectors."""
    return all(unicodedata.category(mark) in UNSEEN or mark in BLANKS for mark in text)


def folded(text: str) -> str:
    """Return the form in which emails are compared: letter case, width and composition make no difference."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
