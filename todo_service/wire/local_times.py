"""Dates and times in files that leave something open: the order of day and month, or the time zone."""

import re
from datetime import UTC, datetime, tzinfo
from typing import Literal

from todo_service.wire.due_dates import NO_OFFSET
from todo_service.wire.import_records import UnreadableError

# As spreadsheets write dates: 12/24/2026, 24.12.2026, 24-12-26, with a time behind it, in 12 hours or in 24.
_REWRITTEN = re.compile(
    r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})\.?(?:,? +(\d{1,2}):(\d\d)(?::(\d\d))?(?: ?([AaPp])\.?[Mm]\.?)?)?",
    re.ASCII,
)


def from_spreadsheet(cell: str, order: Literal["mdy", "dmy"] | None) -> str:
    """Return a date or time as ISO 8601 if a spreadsheet has rewritten it, else as it is.

    Raises `UnreadableError` if it is rewritten and the order of day and month is not known, or if there is no such day.
    """
    text = cell.strip()
    match = _REWRITTEN.fullmatch(text)
    if match is None:
        return text
    if order is None:
        message = (
            "looks as a spreadsheet has rewritten it: send ?dates=mdy if the month comes first (12/24/2026), "
            "?dates=dmy if the day does (24/12/2026)"
        )
        raise UnreadableError(message, "due_date_format")
    first, second = int(match[1]), int(match[3])
    month, day = (first, second) if order == "mdy" else (second, first)
    year = int(match[4]) + (2000 if len(match[4]) == 2 else 0)
    try:
        moment = datetime(year, month, day, _hour(match), int(match[6] or 0), int(match[7] or 0))  # noqa: DTZ001
    except ValueError:
        raise UnreadableError(f"is no date there is in the order {order}", "due_date_format") from None
    return moment.isoformat() if match[5] else moment.date().isoformat()


def _hour(match: re.Match[str]) -> int:
    hour = int(match[5] or 0)
    if match[8] is None:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError(hour)
    return hour % 12 + (12 if match[8].lower() == "p" else 0)


def in_zone(value: object, zone: tzinfo | None) -> object:
    """Return a time without an offset as the moment it is in a zone, everything else as it is."""
    if zone is None or not isinstance(value, str) or not NO_OFFSET.fullmatch(value):
        return value
    try:
        return datetime.fromisoformat(value.upper()).replace(tzinfo=zone).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return value
