"""The filters of a list of tasks: their conditions, and the parameters of these."""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from todo_service.queries.text import contains


class Filter(NamedTuple):
    """The filters of a list; None leaves a filter out.

    All of `tags`, in NFC, must be there; `text` is a substring of title or description, letter case aside. A task that
    is due on a whole day is due at its start in `time_zone`, by its IANA name. Before and after are exclusive.
    """

    status: str | None = None
    completed: bool | None = None
    priority: str | None = None
    tags: tuple[str, ...] | None = None
    due_before: datetime | None = None
    due_after: datetime | None = None
    updated_after: datetime | None = None
    text: str | None = None
    time_zone: str = "UTC"


EVERYTHING = Filter()
_ALL_TAGS = "array_to_string(tags, '')"
_IS_BEYOND_ASCII = f"octet_length({_ALL_TAGS}) > length({_ALL_TAGS})"
_COMPOSED_TAGS = "(SELECT array_agg(normalize(tag, NFC)) FROM unnest(tags) AS tag)"
_CONDITIONS = (
    "({0}::text IS NULL OR status = {0})",
    "({0}::boolean IS NULL OR (status = 'COMPLETED') = {0})",
    "({0}::text IS NULL OR priority = {0})",
    f"({{0}}::text[] IS NULL OR tags @> {{0}} OR ({_IS_BEYOND_ASCII} AND {_COMPOSED_TAGS} @> {{0}}))",
    "({0}::timestamptz IS NULL OR due_at < {0} OR due_on IS NOT NULL)",
    "({0}::date IS NULL OR due_on < {0} OR due_at IS NOT NULL)",
    "({0}::timestamptz IS NULL OR due_at > {0} OR due_on IS NOT NULL)",
    "({0}::date IS NULL OR due_on > {0} OR due_at IS NOT NULL)",
    "({0}::timestamptz IS NULL OR updated_at > {0})",
    f"({{0}}::text IS NULL OR {contains('title', '{0}')} OR {contains('description', '{0}')})",
)


def conditions(first: int) -> str:
    """Return the filters as SQL, their parameters numbered from `first` on."""
    return " AND ".join(condition.format(f"${first + n}") for n, condition in enumerate(_CONDITIONS))


def parameters(chosen: Filter) -> tuple[object, ...]:
    """Return the parameters of `conditions`; a moment also as the day before or after which whole days are due."""
    if chosen == EVERYTHING:
        return ()
    status, completed, priority, tags, due_before, due_after, updated_after, text, time_zone = chosen
    day_before = day_after = None
    if due_before is not None:
        local = due_before.astimezone(ZoneInfo(time_zone))
        begins_now = due_before <= day_start(local.date(), time_zone)
        day_before = local.date() if begins_now else local.date() + timedelta(days=1)
    if due_after is not None:
        day_after = due_after.astimezone(ZoneInfo(time_zone)).date()
    return status, completed, priority, tags, due_before, day_before, due_after, day_after, updated_after, text


def day_start(day: date, time_zone: str) -> datetime:
    """Return the moment in UTC at which a day begins in a time zone."""
    return datetime.combine(day, time.min, ZoneInfo(time_zone)).astimezone(UTC)
