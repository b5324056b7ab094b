"""Lists of tasks: what may be asked for in a query."""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from todo_service import __version__
from todo_service.queries.task_lists import Asked, Filter, Position
from todo_service.wire import cursors, due_dates
from todo_service.wire.codec import Input
from todo_service.wire.tasks import MAX_TAGS, Priority, Status, Tag
from todo_service.wire.text import STORABLE, whole_number

MAX_PAGE = 1000
MAX_TEXT = 255  # characters of `q`


def _moment(value: object) -> datetime:
    """A moment, or the beginning of a day in UTC. In a query an unescaped `+` arrives as a space."""
    due = due_dates.parse(value.replace(" ", "+") if isinstance(value, str) else value)
    if due is None:
        raise PydanticCustomError("null", "must not be null")
    return due if isinstance(due, datetime) else datetime.combine(due, datetime.min.time(), UTC)


Moment = Annotated[datetime, BeforeValidator(_moment)]
Sort = Literal[
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
]


class ListQuery(Input):
    """The query of a list. `limit` None: as the family does; `cursor` "": from the beginning. `user_id` picks one
    user's tasks out of everybody's, and counts for administrators only.
    """

    repeatable: ClassVar[frozenset[str]] = frozenset({"tag"})

    status: Status | None = None
    completed: Literal["true", "false"] | None = None
    priority: Priority | None = None
    tag: Annotated[list[Tag], Field(max_length=MAX_TAGS)] | None = None
    due_before: Moment | None = None
    due_after: Moment | None = None
    updated_after: Moment | None = None
    q: Annotated[str, StringConstraints(max_length=MAX_TEXT), STORABLE] | None = None
    sort: Sort = "-created_at"
    user_id: Annotated[str, STORABLE] | None = None
    skip: Annotated[int, BeforeValidator(whole_number), Field(ge=0)] = 0
    limit: Annotated[int | None, BeforeValidator(whole_number), Field(ge=1, le=MAX_PAGE)] = None
    cursor: str = ""

    @field_validator("cursor")
    @classmethod
    def _begins_once(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("skip"):
            raise PydanticCustomError("cursor_with_skip", "must not come together with `skip`: send one of the two")
        return value

    def filter(self) -> Filter:
        return Filter(
            status=self.status,
            completed=None if self.completed is None else self.completed == "true",
            priority=self.priority,
            tags=tuple(sorted(set(self.tag))) if self.tag else None,
            due_before=self.due_before,
            due_after=self.due_after,
            updated_after=self.updated_after,
            text=self.q or None,
        )

    def asked(self, *, limit: int | None, after: Position | None) -> Asked:
        return Asked(self.sort, self.filter(), self.skip, limit, after)

    def position(self, whose: str | None) -> Position | None:
        """Where the cursor says the page before ended; None if there is no cursor. Raises `ValueError` for one of
        another question.
        """
        if not self.cursor:
            return None
        found = cursors.read(self.cursor, sort=self.sort, digest=self.question(whose))
        if found is None:
            raise ValueError
        return found

    def question(self, whose: str | None) -> str:
        """A digest of what a cursor is bound to: whose tasks (None: everybody's), order and filters."""
        return _digest("cursor", whose, self.sort, self.filter())


def tag_digest(family: str, whose: str, asked: Asked) -> str:
    """A digest of what a list's tag is bound to: family, user, question, and the release, which may write it anew."""
    return _digest(__version__, family, whose, asked)


def _digest(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=8).hexdigest()
