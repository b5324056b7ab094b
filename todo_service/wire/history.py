"""The history of tasks, the trash, and undo as JSON."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from todo_service.queries.task_changes import ChangeRow
from todo_service.queries.undo import Selection, Undone
from todo_service.wire import tasks
from todo_service.wire.codec import Input, Output
from todo_service.wire.task_examples import EXAMPLE
from todo_service.wire.task_lists import Moment
from todo_service.wire.tasks import Task
from todo_service.wire.text import MAX_WHOLE_NUMBER, STORABLE, WITHOUT_NUL, Written, format_moment, whole_number

MAX_PAGE = 500
_Text = Annotated[str, StringConstraints(min_length=1, max_length=255), STORABLE, Field(json_schema_extra=WITHOUT_NUL)]
Operation = TypeAliasType("Operation", Literal["create", "update", "complete", "delete", "import", "restore", "undo"])
CHANGE: dict[str, JsonValue] = {
    "version": 43,
    "task_id": EXAMPLE["id"],
    "operation": "update",
    "at": "2026-11-21T13:16:16.076896Z",
    "actor_id": EXAMPLE["user_id"],
    "source": "01a1fe40-2c31-7d02-9a54-6d1f3c1a7b20",
    "request_id": "3f1c6a0b9d2e4c58",
    "before": EXAMPLE,
}
TRASHED: dict[str, JsonValue] = {
    "task": EXAMPLE,
    "deleted_at": "2026-11-21T13:20:00.000000Z",
    "actor_id": EXAMPLE["user_id"],
}


class HistoryQuery(Input):
    """A page of past changes."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE), BeforeValidator(whole_number)] = Field(
        50, description="How many at most."
    )
    cursor: Annotated[int, Field(ge=1, le=MAX_WHOLE_NUMBER), BeforeValidator(whole_number)] | None = Field(
        None, description="The `next_cursor` of the page before."
    )


class TaskChange(Output):
    """One change of a task."""

    version: int = Field(description="The task's version after the change.")
    task_id: UUID
    operation: Operation
    at: Written
    actor_id: str | None = Field(description="The user who made it.")
    source: str | None = Field(
        description="The id of the session or of the personal access token; `service`, `outside` or `administrator`."
    )
    request_id: str | None
    before: Task | None = Field(description="The task as it was before; null if it was not there.")


class TaskHistory(Output):
    """Changes of a task, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"changes": [CHANGE], "next_cursor": None}]})

    changes: list[TaskChange]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null if there is none.")


class TrashedTask(Output):
    """A deleted task."""

    task: Task = Field(description="As it was before the deletion.")
    deleted_at: Written
    actor_id: str | None = Field(description="The user who deleted it.")


class Trash(Output):
    """Deleted tasks that can be restored, the last one first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tasks": [TRASHED], "next_cursor": None}]})

    tasks: list[TrashedTask]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null if there is none.")


class UndoRequest(Input):
    """The changes to take back: of a request, of a source since a moment, or all above a version."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "01a1fe40-2c31-7d02-9a54-6d1f3c1a7b20",
                    "since": "2026-11-21T13:00:00Z",
                    "on_conflict": "skip",
                }
            ]
        }
    )

    request_id: _Text | None = Field(None, description="The `X-Request-ID` of the request that made the changes.")
    source: _Text | None = Field(None, description="A `source` of the history; needs `since`.")
    since: Moment | None = Field(None, description="Only the source's changes at this moment or later.")
    to_version: int | None = Field(
        None, ge=0, le=MAX_WHOLE_NUMBER, description="All changes above this version of yours, of any source."
    )
    on_conflict: Literal["fail", "skip"] = Field(
        "fail", description="What becomes of tasks that another source has changed since: a refusal, or left alone."
    )

    @model_validator(mode="after")
    def _selects_once(self) -> "UndoRequest":
        ways = [self.request_id is not None, self.source is not None, self.to_version is not None]
        if sum(ways) != 1 or (self.source is None) is not (self.since is None):
            raise PydanticCustomError(
                "selection", "must have `request_id`, or `source` with `since`, or `to_version`, and no two of these"
            )
        return self

    def selection(self, days: int) -> Selection:
        """Return the changes to take back, from a history of so many days."""
        return Selection(days, self.to_version or 0, self.request_id, self.source, self.since)


class UndoneTask(Output):
    """A task that has changed."""

    id: UUID
    version: int
    deleted: bool = Field(description="Whether the task is gone: it was not there before the changes.")


class UndoResult(Output):
    """The tasks that are as they were before."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"changes": [{"id": EXAMPLE["id"], "version": 44, "deleted": False}], "skipped": []}]
        }
    )

    changes: list[UndoneTask] = Field(description="In the order of their new versions.")
    skipped: list[UUID] = Field(description="Tasks that another source has changed since.")


def change(row: ChangeRow) -> dict[str, object]:
    """Return a change as JSON."""
    return {
        "version": row.version,
        "task_id": str(row.task_id),
        "operation": row.operation,
        "at": format_moment(row.changed_at),
        "actor_id": row.actor_id,
        "source": row.source,
        "request_id": row.request_id,
        "before": tasks.document(row.before, "snake") if row.before else None,
    }


def trashed(row: ChangeRow) -> dict[str, object]:
    """Return a deleted task as JSON."""
    assert row.before is not None
    return {
        "task": tasks.document(row.before, "snake"),
        "deleted_at": format_moment(row.changed_at),
        "actor_id": row.actor_id,
    }


def undone(task: Undone) -> dict[str, object]:
    """Return a task that has changed as JSON."""
    return {"id": str(task.task_id), "version": task.version, "deleted": task.deletes}
