"""A task as the database has it, and the values of its statements."""

from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from todo_service.queries.statements import Columns


class TaskRow(NamedTuple):
    """One task. Due at a moment (`due_at`), on a whole day (`due_on`), or never; all moments are in UTC."""

    id: UUID
    user_id: str
    title: str
    description: str | None
    status: str
    priority: str
    due_at: datetime | None
    due_on: date | None
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    version: int


TASK_COLUMNS = Columns(TaskRow)


class NewTask(NamedTuple):
    """The fields of a task to create."""

    id: UUID
    title: str
    description: str | None
    status: str
    priority: str
    due_at: datetime | None
    due_on: date | None
    tags: list[str]


class Changes(NamedTuple):
    """The fields of an update. None leaves a field alone; description and due are set, even to null, if flagged."""

    title: str | None = None
    sets_description: bool = False
    description: str | None = None
    status: str | None = None
    completed: bool | None = None
    toggles_completed: bool = False
    priority: str | None = None
    sets_due: bool = False
    due_at: datetime | None = None
    due_on: date | None = None
    tags: list[str] | None = None


class Inserted(NamedTuple):
    """The result of a create: the task, and whether it is new or was there under its id."""

    is_new: bool
    task: TaskRow
