"""The records of a file become validated tasks: either all are valid, or every invalid one is named."""

from collections.abc import Iterable
from itertools import islice
from typing import ClassVar, NamedTuple
from uuid import UUID

import uuid_utils.compat

from todo_service.config.settings import Settings
from todo_service.errors import FieldError, ValidationFailed
from todo_service.queries.transfers import ImportTask
from todo_service.wire import codec
from todo_service.wire.due_dates import Moment
from todo_service.wire.tasks import TaskCreate

MAX_DETAILED_ERRORS = 1000  # beyond this, invalid records are only named, in one error, so that the answer stays small


class Record(NamedTuple):
    """One record of a file.

    Attributes:
        place: The prefix of its fields in an error, such as "line 17: ".
        document: Its fields as JSON.
        unreadable: The fields that could not be read.
    """

    place: str
    document: object
    unreadable: tuple[FieldError, ...] = ()


class ImportedTask(TaskCreate):
    """A task in a file: the fields of a create, and the moments that only an import may set."""

    nullable: ClassVar[frozenset[str]] = TaskCreate.nullable | {"created_at", "updated_at", "completed_at"}

    created_at: Moment = None
    updated_at: Moment = None
    completed_at: Moment = None

    def sent_task(self) -> ImportTask:
        return ImportTask(
            id=self.id or uuid_utils.compat.uuid7(),
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
            created_at=self.created_at,
            updated_at=self.updated_at,
            completed_at=self.completed_at,
        )


def check(records: Iterable[Record], *, settings: Settings) -> list[ImportTask]:
    """Validate all records. Raises `ValidationFailed` that names every invalid one."""
    limit = settings.max_tasks_per_user
    batch = list(islice(records, limit + 1))
    if len(batch) > limit:
        raise ValidationFailed((FieldError("tasks", f"must be at most {limit:,}", "too_many_tasks"),))
    tasks: list[ImportTask] = []
    errors: list[FieldError] = []
    others: list[str] = []
    ids: set[UUID] = set()
    for record in batch:
        try:
            task = _task(record, settings)
            if task.id in ids:
                raise ValidationFailed((FieldError("id", "is in the file twice", "repeated"),))
        except ValidationFailed as failed:
            if len(errors) < MAX_DETAILED_ERRORS:
                errors.extend(FieldError(_label(record, error), error.message, error.code) for error in failed.errors)
            else:
                others.append(_name(record))
        else:
            ids.add(task.id)
            tasks.append(task)
    if others:
        errors.append(FieldError("tasks", f"are not valid either: {', '.join(others)}", "more_rows"))
    if errors:
        raise ValidationFailed(tuple(errors))
    return tasks


def _task(record: Record, settings: Settings) -> ImportTask:
    try:
        task = codec.validate(ImportedTask, record.document, context=settings)
    except ValidationFailed as failed:
        unreadable_fields = {error.field for error in record.unreadable}
        raise ValidationFailed(
            (*record.unreadable, *(error for error in failed.errors if error.field not in unreadable_fields))
        ) from None
    if record.unreadable:
        raise ValidationFailed(record.unreadable)
    return task.sent_task()


def _label(record: Record, error: FieldError) -> str:
    """Return `tasks[3].title` or `line 17: title`; for a record that is not a task just its place."""
    return _name(record) if error.code == "object_expected" else record.place + error.field


def _name(record: Record) -> str:
    return record.place.rstrip(".: ")
