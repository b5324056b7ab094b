"""Tasks as JSON: the bodies of requests, and the document of a task."""

import re
import unicodedata
from datetime import date, datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

import orjson
import uuid_utils.compat
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from todo_service.queries.task_rows import Changes, NewTask, TaskRow
from todo_service.wire import codec
from todo_service.wire.codec import Input, Naming, Output
from todo_service.wire.due_dates import DueDate
from todo_service.wire.task_examples import AGREEING, COMPLETED, EXAMPLE, EXAMPLE_OF_CREATE, NOT_BLANK, VISIBLE
from todo_service.wire.text import STORABLE, WITHOUT_NUL, Written, format_due_date, format_moment, is_invisible

MAX_TAGS = 20
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def parse_task_id(text: object) -> UUID | None:
    """Return the UUID if it is in its canonical spelling (RFC 9562 section 4, either case), else None."""
    return UUID(text) if isinstance(text, str) and _UUID.fullmatch(text) else None


def _client_id(value: object) -> UUID:
    task_id = parse_task_id(value)
    if task_id is None:
        raise PydanticCustomError("uuid", "must be a UUID such as 018f3c1e-7a52-7b6e-9d2f-3f1f0f1f2a3b")
    return task_id


def _capitals(value: object) -> object:
    return value.upper() if isinstance(value, str) and value.isascii() else value


def _visible(value: str) -> str:
    if not (value.isascii() and value.isprintable()) and is_invisible(value):
        raise PydanticCustomError("invisible", "must not consist of invisible characters only")
    return value


def _distinct(tags: list[str]) -> list[str]:
    """Return the tags without those that are the same text as an earlier one."""
    first: dict[str, str] = {}
    for tag in tags:
        first.setdefault(unicodedata.normalize("NFC", tag), tag)
    distinct = list(first.values())
    if len(distinct) > MAX_TAGS:
        raise PydanticCustomError("too_many_tags", "must have at most 20 tags")
    return distinct


Status = TypeAliasType("Status", Literal["TODO", "IN_PROGRESS", "COMPLETED"])
Priority = TypeAliasType("Priority", Annotated[Literal["URGENT", "HIGH", "MEDIUM", "LOW"], BeforeValidator(_capitals)])
Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    STORABLE,
    AfterValidator(_visible),
    Field(description="1 to 255 characters, after spaces at both ends are taken off.", json_schema_extra=VISIBLE),
]
Description = Annotated[str, StringConstraints(max_length=5000), STORABLE, Field(json_schema_extra=WITHOUT_NUL)]
TaskId = Annotated[UUID, BeforeValidator(_client_id)]
Tag = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=50),
    STORABLE,
    Field(json_schema_extra=NOT_BLANK),
]
Tags = Annotated[
    list[Tag],
    Field(fail_fast=True, json_schema_extra={"maxItems": MAX_TAGS}),  # the first invalid tag is enough to report
    AfterValidator(_distinct),
]


class _Fields(Input):
    """The fields of both create and update. None means absent: where the contract has no null, a null is refused."""

    nullable: ClassVar[frozenset[str]] = frozenset({"description", "due_date"})

    description: Description | None = None
    status: Status | None = Field(None, description="`TODO` by default.")
    completed: bool | None = Field(None, description="The same as `status`, in short. The two must not contradict.")
    priority: Priority | None = Field(None, description="In any letter case; `MEDIUM` by default.")
    due_date: DueDate = None
    tags: Tags | None = Field(None, description="At most 20 after duplicates are dropped.")

    @field_validator("title", "status", "completed", "priority", "tags", mode="before", check_fields=False)
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise PydanticCustomError("null", "must not be null")
        return value

    @field_validator("completed")
    @classmethod
    def _agrees(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        status = info.data.get("status")
        if status is not None and value is not (status == COMPLETED):
            raise PydanticCustomError("contradiction", "contradicts `status`: send one of the two, or two that agree")
        return value

    @property
    def due_at(self) -> datetime | None:
        return self.due_date if isinstance(self.due_date, datetime) else None

    @property
    def due_on(self) -> date | None:
        return None if isinstance(self.due_date, datetime) else self.due_date


class TaskCreate(_Fields):
    """A task to create."""

    model_config = ConfigDict(json_schema_extra=AGREEING | {"examples": [EXAMPLE_OF_CREATE]})

    id: Annotated[UUID | None, BeforeValidator(_client_id)] = Field(None, description="Any UUID you choose.")
    title: Title

    def new_task(self) -> NewTask:
        return NewTask(
            id=self.id or uuid_utils.compat.uuid7(),
            title=self.title,
            description=self.description,
            status=self.status or (COMPLETED if self.completed else "TODO"),
            priority=self.priority or "MEDIUM",
            due_at=self.due_at,
            due_on=self.due_on,
            tags=self.tags or [],
        )

    def agrees(self, task: TaskRow) -> bool:
        """Return whether the task equals the body, so that a repeated create is answered with it."""
        sent = self.new_task()
        names = {"completed": ("status",), "due_date": ("due_at", "due_on")}
        return all(
            getattr(sent, column) == getattr(task, column)
            for field in self.model_fields_set
            for column in names.get(field, (field,))
        )


class TaskUpdate(_Fields):
    """A change to a task: absent fields stay, null clears a description or a due date."""

    model_config = ConfigDict(json_schema_extra=AGREEING | {"examples": [{"priority": "LOW", "due_date": None}]})

    title: Title | None = None

    def changes(self) -> Changes:
        return Changes(
            title=self.title,
            sets_description="description" in self.model_fields_set,
            description=self.description,
            status=self.status,
            completed=self.completed,
            priority=self.priority,
            sets_due="due_date" in self.model_fields_set,
            due_at=self.due_at,
            due_on=self.due_on,
            tags=self.tags,
        )


class TaskCompletion(Input):
    """Whether the task is to be completed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"completed": True}]})

    completed: bool


class Task(Output):
    """A task."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [EXAMPLE]})

    id: UUID
    user_id: str = Field(description="The owner.")
    title: Title
    description: Description | None
    status: Status
    completed: bool = Field(description="Whether `status` is `COMPLETED`.")
    priority: Priority
    due_date: DueDate
    tags: Tags
    created_at: Written
    updated_at: Written
    completed_at: Written | None
    version: int = Field(ge=0, description="The owner's change counter at this task's last change. Also its `ETag`.")


_SNAKE_NAMES = (
    "id",
    "user_id",
    "title",
    "description",
    "status",
    "completed",
    "priority",
    "due_date",
    "tags",
    "created_at",
    "updated_at",
    "completed_at",
    "version",
)
_NAMES: dict[Naming, tuple[str, ...]] = {"snake": _SNAKE_NAMES, "camel": tuple(map(to_camel, _SNAKE_NAMES))}


async def array(rows: list[TaskRow], naming: Naming) -> orjson.Fragment:
    """Return tasks as a JSON array."""
    return await codec.array(rows, lambda row: document(row, naming))


def document(row: TaskRow, naming: Naming) -> dict[str, object]:
    """Return a task as a JSON object with the names of its family."""
    values = (
        str(row.id),
        row.user_id,
        row.title,
        row.description,
        row.status,
        row.status == COMPLETED,
        row.priority,
        format_due_date(row.due_at, row.due_on),
        row.tags,
        format_moment(row.created_at),
        format_moment(row.updated_at),
        format_moment(row.completed_at) if row.completed_at else None,
        row.version,
    )
    return dict(zip(_NAMES[naming], values, strict=True))
