"""What the API's description says of due dates is what is read."""

import re
from datetime import date, timedelta

import pytest
from pydantic_core import PydanticCustomError

from todo_service.wire.due_dates import DESCRIBED, parse

PATTERN = re.compile(str(DESCRIBED["pattern"]))


def is_read(text: str) -> bool:
    try:
        return parse(text) is not None
    except PydanticCustomError:
        return False


def test_every_day_there_is_is_described() -> None:
    day = date(1969, 12, 1)
    while day.year < 2101:
        assert bool(PATTERN.match(day.isoformat())) == is_read(day.isoformat()) == (day.year > 1969)
        day += timedelta(days=1)


@pytest.mark.parametrize("year", ["1969", "1970", "1972", "1996", "2000", "2100", "2400", "9600", "9998", "9999"])
@pytest.mark.parametrize("rest", ["02-28", "02-29", "02-30", "04-31", "06-30", "12-31", "13-01", "00-10", "01-00"])
def test_no_other_day_is(year: str, rest: str) -> None:
    assert bool(PATTERN.match(f"{year}-{rest}")) == is_read(f"{year}-{rest}")


@pytest.mark.parametrize(
    "time",
    ["T10:00:00Z", "t10:00:00z", "T23:59:59.123456+02:00", "T24:00:00Z", "T10:00:60Z", "T10:00Z", "T10:00:00",
     "T10:00:00.Z", "T10:00:00+24:00", " 10:00:00Z", "T10:00:00+02"],
)  # fmt: skip
def test_moments_are_described_as_they_are_read(time: str) -> None:
    assert bool(PATTERN.match("2026-12-24" + time)) == is_read("2026-12-24" + time)
