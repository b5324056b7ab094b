"""Lists of tasks: their query."""

import re
import unicodedata
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from todo_service import __version__
from todo_service.queries.task_filters import Filter, day_start
from todo_service.queries.task_lists import ListSpec, Position
from todo_service.wire import cursors, due_dates
from todo_service.wire.codec import Input
from todo_service.wire.tasks import MAX_TAGS, Priority, Status, Tag
from todo_service.wire.text import MAX_WHOLE_NUMBER, STORABLE, WITHOUT_NUL, whole_number
from todo_service.wire.time_zones import TimeZone

MAX_PAGE = 1000
MAX_TEXT = 255  # characters of `q`


def _moment(value: object, info: ValidationInfo) -> datetime:
    """Return a moment, or the start of a day in the time zone. An unescaped `+` arrives as a space in a query."""
    due = due_dates.parse(value.replace(" ", "+") if isinstance(value, str) else value)
    if due is None:
        raise PydanticCustomError("null", "must not be null")
    return due if isinstance(due, datetime) else day_start(due, info.data.get("time_zone") or "UTC")


def _snake(value: object) -> object:
    """Return a name in snake_case."""
    return re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", value) if isinstance(value, str) else value


def begins_once(value: str, info: ValidationInfo) -> str:
    """Return a cursor, which begins a page as `skip` does."""
    if value and info.data.get("skip"):
        raise PydanticCustomError("cursor_with_skip", "must not come together with `skip`: send one of the two")
    return value


Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema(due_dates.DESCRIBED)]
Switch = Annotated[Literal["true", "false"], WithJsonSchema({"type": "boolean"})]
Sort = TypeAliasType(
    "Sort",
    Literal[
        "created_at",
        "-created_at",
        "updated_at",
        "-updated_at",
        "due_date",
        "-due_date",
        "priority",
        "-priority",
        "title",
        "-title",
    ],
)


class ListQuery(Input):
    """The query of a list.

    `limit` None leaves it to the family; `cursor` "" is the start. `user_id` selects one user's tasks and counts for
    administrators only.
    """

    repeatable: ClassVar[frozenset[str]] = frozenset({"tag"})
    absent_if_empty: ClassVar[frozenset[str]] = frozenset({"status", "completed", "priority"})

    time_zone: TimeZone | None = Field(
        None, description="Whose days are meant by `due_before`, `due_after` and whole-day tasks; UTC by default."
    )
    status: Status | None = Field(None, description="Only tasks with this status.")
    completed: Switch | None = Field(None, description="Only completed tasks, or only the others.")
    priority: Priority | None = Field(None, description="Only tasks with this priority, in any letter case.")
    tag: Annotated[list[Tag], Field(max_length=MAX_TAGS)] | None = Field(
        None, description="Only tasks with this tag; repeat it for tasks that have all of them."
    )
    due_before: Moment | None = Field(None, description="Only tasks due before this moment, or before this day begins.")
    due_after: Moment | None = Field(None, description="Only tasks due after this moment, or after this day has begun.")
    updated_after: Moment | None = Field(
        None, description="Only tasks changed after this moment, or after this day has begun."
    )
    q: Annotated[str, StringConstraints(max_length=MAX_TEXT), STORABLE] | None = Field(
        None,
        description="Only tasks with this text in title or description, letter case aside.",
        json_schema_extra=WITHOUT_NUL,
    )
    sort: Annotated[Sort, BeforeValidator(_snake)] = Field(
        "-created_at", description="The order; `-` for descending. In camelCase too. Ties are in the order of the ids."
    )
    user_id: Annotated[str, STORABLE] | None = Field(
        None, description="For administrators: only tasks of this user.", json_schema_extra=WITHOUT_NUL
    )
    skip: Annotated[int, Field(ge=0, le=MAX_WHOLE_NUMBER), BeforeValidator(whole_number)] = Field(
        0, description="Leave out this many. It does not go with `cursor`."
    )
    limit: Annotated[int | None, Field(ge=1, le=MAX_PAGE), BeforeValidator(whole_number)] = Field(
        None, description="How many at most."
    )
    cursor: str = Field(
        "",
        description="For the next page: `next_cursor` or `Link` of this one, with the same filters and `sort`.",
    )

    _begins_once = field_validator("cursor")(begins_once)

    def filter(self) -> Filter:
        return Filter(
            status=self.status,
            completed=None if self.completed is None else self.completed == "true",
            priority=self.priority,
            tags=tuple(sorted({unicodedata.normalize("NFC", tag) for tag in self.tag})) if self.tag else None,
            due_before=self.due_before,
            due_after=self.due_after,
            updated_after=self.updated_after,
            text=self.q or None,
            time_zone=self.time_zone if (self.due_before or self.due_after) and self.time_zone else "UTC",
        )

    def spec(self, *, limit: int | None, after: Position | None) -> ListSpec:
        return ListSpec(self.sort, self.filter(), self.skip, limit, after)

    def position(self, owner_id: str | None) -> Position | None:
        """Return the end of the last page, None without a cursor. Raises `ValueError` for a cursor of another list."""
        if not self.cursor:
            return None
        position = cursors.read(self.cursor, sort=self.sort, digest=self.digest(owner_id))
        if position is None:
            raise ValueError
        return position

    def digest(self, owner_id: str | None) -> str:
        """Return the digest that binds a cursor to its list: the owner (None for every owner), order and filters."""
        return cursors.digest("cursor", owner_id, self.sort, self.filter())


def tag_digest(family: str, owner_id: str, spec: ListSpec) -> str:
    """Return the digest that binds a tag to its list and to the release, which may render the list differently."""
    return cursors.digest(__version__, family, owner_id, spec)
