"""Due dates: a moment (RFC 3339 with an offset) or a whole day (`YYYY-MM-DD`), and nothing in between.

A moment without an offset is refused: a guessed zone moves the due date by a day for some users. Fractions of a second
beyond six digits are cut.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,30})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
NO_OFFSET = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)
FIRST_YEAR, LAST_YEAR = 1970, 9998


def parse(value: object) -> datetime | date | None:
    """Return the moment in UTC, the day, or None. Raises `PydanticCustomError` for every other spelling."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise PydanticCustomError("due_date_type", "must be a string or null")
    if NO_OFFSET.fullmatch(value):
        raise PydanticCustomError(
            "due_date_without_offset",
            "has no UTC offset: end it with Z or an offset such as +02:00, or send a plain date",
        )
    try:
        due = _day_or_moment(value)
    except (ValueError, OverflowError):
        raise PydanticCustomError(
            "due_date_format", "must be a date (2026-12-31) or a moment with an offset (2026-12-31T17:00:00Z)"
        ) from None
    if not FIRST_YEAR <= due.year <= LAST_YEAR:
        raise PydanticCustomError("due_date_range", "must be in the years 1970 to 9998")
    return due


def _day_or_moment(value: str) -> datetime | date:
    if _DAY.fullmatch(value):
        return date.fromisoformat(value)
    if _MOMENT.fullmatch(value):
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    raise ValueError


# Described without a `format`: generated clients would make a moment of a day, or a day of a moment.
_YEAR = "(19[7-9][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])"
_LEAP = "(19(7[26]|8[048]|9[26])|[2-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[3579][26])00)"
_LONG, _SHORT = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])", "(0[469]|11)-(0[1-9]|[12][0-9]|30)"
_DATE = f"({_YEAR}-({_LONG}|{_SHORT}|02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
_TIME = r"[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,30})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
DESCRIBED = {
    "type": "string",
    "pattern": f"^{_DATE}({_TIME})?$",
    "description": "A plain date (a whole day, in no time zone), or a moment with a UTC offset. Years 1970 to 9998.",
}
DueDate = Annotated[
    datetime | date | None,
    BeforeValidator(parse),
    WithJsonSchema(DESCRIBED | {"type": ["string", "null"], "examples": ["2026-12-24", "2026-12-24T18:00:00Z"]}),
]


def parse_moment(value: object) -> datetime | None:
    """Return the moment in UTC, or None.

    Raises `PydanticCustomError` for every other spelling, including a plain date.
    """
    if isinstance(value, str) and _DAY.fullmatch(value):
        raise PydanticCustomError("moment_format", "must be a moment with an offset (2026-12-31T17:00:00Z)")
    due = parse(value)
    return due if isinstance(due, datetime) else None


Moment = Annotated[
    datetime | None,
    BeforeValidator(parse_moment),
    WithJsonSchema({"type": ["string", "null"], "format": "date-time", "pattern": f"^{_DATE}{_TIME}$"}),
]
