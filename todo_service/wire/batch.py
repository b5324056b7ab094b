"""Batches as JSON: the operations of a request, each validated by itself, and their results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

from todo_service.config.settings import Settings
from todo_service.errors import FieldError, ValidationFailed
from todo_service.queries.task_rows import Changes, TaskRow
from todo_service.wire import codec
from todo_service.wire.codec import Input, Model, Output
from todo_service.wire.schemas import DescribedAs
from todo_service.wire.task_examples import EXAMPLE as EXAMPLE_OF_TASK
from todo_service.wire.task_examples import EXAMPLE_OF_CREATE
from todo_service.wire.tasks import Task, TaskCreate, TaskId, TaskUpdate, document

MAX_OPERATIONS = 100
MAX_VERSION = 2**63 - 1
_ID = "5f0c1c3e-8f1b-4c5e-9a52-3d1f7a1b2c3d"
EXAMPLE: JsonValue = {
    "operations": [
        {"op": "create", "task": EXAMPLE_OF_CREATE | {"id": _ID}},
        {"op": "update", "id": _ID, "task": {"priority": "LOW"}},
        {"op": "complete", "id": _ID, "completed": True},
        {"op": "delete", "id": _ID},
    ]
}

EXAMPLE_OF_RESULTS: JsonValue = {
    "results": [
        {"op": "create", "status": 201, "id": _ID, "task": EXAMPLE_OF_TASK},
        {"op": "delete", "status": 204, "id": _ID},
    ]
}


@dataclass(frozen=True, slots=True)
class Create:
    """Create a task."""

    task: TaskCreate


@dataclass(frozen=True, slots=True)
class Change:
    """Update or complete a task that is at one of `if_versions` (None: any)."""

    op: Literal["update", "complete"]
    id: UUID
    changes: Changes
    if_versions: list[int] | None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a task that is at one of `if_versions` (None: any)."""

    id: UUID
    if_versions: list[int] | None


Operation = Create | Change | Delete


def _some(operations: list[Any]) -> list[Any]:
    if not 1 <= len(operations) <= MAX_OPERATIONS:
        raise PydanticCustomError("operations_count", "must hold 1 to 100 operations")
    return operations


def _not_null(value: object) -> object:
    if value is None:
        raise PydanticCustomError("null", "must not be null")
    return value


class _Kind(Input):
    op: Literal["create", "update", "complete", "delete"]


class _Target(Input):
    id: TaskId
    if_version: Annotated[Annotated[int, Field(ge=0, le=MAX_VERSION)] | None, BeforeValidator(_not_null)] = Field(
        None, description="Do it only if the task is at this version."
    )

    @property
    def if_versions(self) -> list[int] | None:
        return None if self.if_version is None else [self.if_version]


class _Completion(_Target):
    completed: Annotated[bool | None, BeforeValidator(_not_null)] = Field(None, description="Without it: toggle.")

    def changes(self) -> Changes:
        return Changes(completed=self.completed, toggles_completed=self.completed is None)


class CreateOperation(Input):
    """Create a task."""

    op: Literal["create"]
    task: TaskCreate


class UpdateOperation(_Target):
    """Change a task."""

    op: Literal["update"]
    task: TaskUpdate


class CompleteOperation(_Completion):
    """Complete, reopen or toggle a task."""

    op: Literal["complete"]


class DeleteOperation(_Target):
    """Delete a task."""

    op: Literal["delete"]


Operations = Annotated[
    list[Annotated[CreateOperation | UpdateOperation | CompleteOperation | DeleteOperation, Field(discriminator="op")]],
    Field(min_length=1, max_length=MAX_OPERATIONS),
]


class Batch(Input):
    """Operations to carry out in order, all of them or none."""

    # Only counted here: `read` checks the operations.
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    operations: Annotated[list[Any], AfterValidator(_some), DescribedAs(Operations)]


class TaskResult(Output):
    """The result of an operation that leaves a task."""

    op: Literal["create", "update", "complete"]
    status: Literal[200, 201] = Field(description="The status of the single request.")
    id: UUID
    task: Task


class DeleteResult(Output):
    """The result of a deletion."""

    op: Literal["delete"]
    status: Literal[204]
    id: UUID


class BatchResults(Output):
    """The results of a batch, in the order of its operations."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_OF_RESULTS]})

    results: list[Annotated[TaskResult | DeleteResult, Field(discriminator="op")]]


class _Reader:
    """Validates the parts of operations by themselves and collects the failing ones in `failing`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.failing: list[FieldError] = []

    def part(self, model: type[Model], part: object, path: str) -> Model | None:
        """Return the value at `path` as a validated model, or None if it fails."""
        try:
            return codec.validate(model, part, context=self._settings)
        except ValidationFailed as refused:
            for error in refused.errors:
                field = path if error.code == "object_expected" else f"{path}.{error.field}"
                self.failing.append(FieldError(field, error.message, error.code))
            return None

    def task(self, model: type[Model], operation: Mapping[str, object], path: str) -> Model | None:
        """Return an operation's task, or None if it fails or is missing."""
        if "task" in operation:
            return self.part(model, operation["task"], f"{path}.task")
        self.failing.append(FieldError(f"{path}.task", "is required", "missing"))
        return None


def read(documents: Sequence[Any], settings: Settings) -> list[Operation]:
    """Validate all operations. A mebibyte of tags takes about 50 ms: call it in a thread.

    Raises:
        ValidationFailed: Every failing field of every operation, such as `operations[3].task.title`.
    """
    reader = _Reader(settings)
    operations = [_operation(reader, operation, f"operations[{index}]") for index, operation in enumerate(documents)]
    if reader.failing:
        raise ValidationFailed(tuple(reader.failing))
    return [operation for operation in operations if operation is not None]


def _operation(reader: _Reader, operation: Any, path: str) -> Operation | None:
    kind = reader.part(_Kind, operation, path)
    return _READ[kind.op](reader, operation, path) if kind else None


def _create(reader: _Reader, operation: Mapping[str, object], path: str) -> Operation | None:
    task = reader.task(TaskCreate, operation, path)
    return Create(task) if task else None


def _update(reader: _Reader, operation: Mapping[str, object], path: str) -> Operation | None:
    target, task = reader.part(_Target, operation, path), reader.task(TaskUpdate, operation, path)
    return Change("update", target.id, task.changes(), target.if_versions) if target and task else None


def _complete(reader: _Reader, operation: Mapping[str, object], path: str) -> Operation | None:
    target = reader.part(_Completion, operation, path)
    return Change("complete", target.id, target.changes(), target.if_versions) if target else None


def _delete(reader: _Reader, operation: Mapping[str, object], path: str) -> Operation | None:
    target = reader.part(_Target, operation, path)
    return Delete(target.id, target.if_versions) if target else None


_READ: Mapping[str, Callable[[_Reader, Mapping[str, object], str], Operation | None]] = {
    "create": _create,
    "update": _update,
    "complete": _complete,
    "delete": _delete,
}


def result(op: str, row: TaskRow, *, status: int = 200) -> dict[str, object]:
    """Return the result of an operation that leaves a task; `status` is the one that it would have by itself."""
    return {"op": op, "status": status, "id": str(row.id), "task": document(row, "snake")}


def deleted(task_id: UUID) -> dict[str, object]:
    """Return the result of a deletion."""
    return {"op": "delete", "status": 204, "id": str(task_id)}
