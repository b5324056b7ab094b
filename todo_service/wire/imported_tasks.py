"""The records of a file become validated tasks, and every invalid one is named."""

from collections.abc import Iterable
from datetime import tzinfo
from itertools import islice
from typing import ClassVar, NamedTuple
from uuid import UUID

import uuid_utils.compat

from todo_service.config.settings import Settings
from todo_service.errors import FieldError, ValidationFailed
from todo_service.queries.transfers import ImportTask
from todo_service.wire import codec
from todo_service.wire.due_dates import Moment
from todo_service.wire.import_records import Ignored, Record
from todo_service.wire.local_times import in_zone
from todo_service.wire.tasks import TaskCreate

MAX_DETAILED_ERRORS = 1000  # beyond this, invalid records are only named, in one error, so that the answer stays small


DATES = {"due_date", "dueDate", "created_at", "createdAt", "updated_at", "updatedAt", "completed_at", "completedAt"}


class Checked(NamedTuple):
    """The valid tasks of a file, the errors of the others and their number, and whether it was read to its end."""

    tasks: list[ImportTask]
    errors: tuple[FieldError, ...]
    failed: int
    is_whole: bool


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


def check(records: Iterable[Record], *, settings: Settings, time_zone: tzinfo | None, ignored: Ignored) -> Checked:
    """Validate all records: the latest revision of each, with times without an offset in `time_zone`.

    Raises `ValidationFailed` if there are too many. The task of the earlier revision is counted in `ignored`.
    """
    limit = settings.max_tasks_per_user
    batch = list(islice(records, limit + 1))
    if len(batch) > limit:
        raise ValidationFailed((FieldError("tasks", f"must be at most {limit:,}", "too_many_tasks"),))
    tasks: list[ImportTask] = []
    errors: list[FieldError] = []
    others: list[str] = []
    failed = 0
    ids: set[UUID] = set()
    for record in _latest(batch, ignored):
        try:
            task = _task(record, settings, time_zone)
            if task.id in ids:
                raise ValidationFailed((FieldError("id", "is in the file twice", "repeated"),))
        except ValidationFailed as failure:
            failed += 1
            if len(errors) < MAX_DETAILED_ERRORS:
                errors.extend(FieldError(_label(record, error), error.message, error.code) for error in failure.errors)
            else:
                others.append(_name(record))
        else:
            ids.add(task.id)
            tasks.append(task)
    if others:
        errors.append(FieldError("tasks", f"are not valid either: {', '.join(others)}", "more_rows"))
    is_whole = not any(record.is_last for record in batch)
    return Checked(tasks, tuple(errors), failed, is_whole)


def _latest(records: list[Record], ignored: Ignored) -> list[Record]:
    """Return the records without earlier revisions of a task; of equal revisions the last one in the file counts."""
    latest: dict[object, Record] = {}
    for position, record in enumerate(records):
        task_id = record.document.get("id") if record.revision and isinstance(record.document, dict) else None
        key = position if task_id is None else task_id
        known = latest.get(key)
        if known is None:
            latest[key] = record
        else:
            if known.document != record.document:
                ignored.component("VTODO")
            latest[key] = max(record, known, key=lambda one: one.revision or (0, ""))
    return list(latest.values())


def _task(record: Record, settings: Settings, time_zone: tzinfo | None) -> ImportTask:
    sent = record.document
    if time_zone is not None and isinstance(sent, dict):
        sent = {name: in_zone(value, time_zone) if name in DATES else value for name, value in sent.items()}
    try:
        task = codec.validate(ImportedTask, sent, context=settings)
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
