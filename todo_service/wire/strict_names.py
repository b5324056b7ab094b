"""Names that a request must not have under strict handling: unknown ones, with the known one close to each."""

from collections.abc import Iterable
from difflib import get_close_matches

from pydantic.alias_generators import to_camel

from todo_service.errors import FieldError
from todo_service.wire.batch import Batch, CompleteOperation, CreateOperation, DeleteOperation, UpdateOperation
from todo_service.wire.codec import Input, Naming
from todo_service.wire.tasks import TaskCreate, TaskUpdate
from todo_service.wire.text import readable

CLOSE = 0.5  # similarity of a name that is suggested
MOST_NAMED = 20  # unknown names of one request; to look for a suggestion takes 50 µs
LONGEST = 40  # characters of a name that are compared
_FIELDS = ("id", "user_id", "owner_id", "role", "version", "created_at", "updated_at", "completed_at")
READ_ONLY = frozenset(name for field in _FIELDS for name in (field, to_camel(field)))  # clients may send them back
OPERATIONS: dict[str, type[Input]] = {
    "create": CreateOperation,
    "update": UpdateOperation,
    "complete": CompleteOperation,
    "delete": DeleteOperation,
}
TASKS: dict[str, type[Input]] = {"create": TaskCreate, "update": TaskUpdate}


def unknown_members(model: type[Input], document: object, naming: Naming) -> tuple[FieldError, ...]:
    """Return an error for each unknown member of a body; in a batch also of its operations and of their tasks."""
    if not isinstance(document, dict):
        return ()
    errors = unknown(model, document, naming)
    if model is Batch and isinstance(operations := document.get("operations"), list):
        for index, operation in enumerate(operations):
            if len(errors) < MOST_NAMED:
                errors += _of_operation(operation, naming, f"operations[{index}].")
    return errors[:MOST_NAMED]


def _of_operation(operation: object, naming: Naming, place: str) -> tuple[FieldError, ...]:
    kind = operation.get("op") if isinstance(operation, dict) else None
    if not isinstance(operation, dict) or not isinstance(kind, str) or kind not in OPERATIONS:
        return ()
    errors = unknown(OPERATIONS[kind], operation, naming, place)
    task = operation.get("task")
    if kind in TASKS and isinstance(task, dict):
        errors += unknown(TASKS[kind], task, naming, f"{place}task.")
    return errors


def unknown(model: type[Input], names: Iterable[str], naming: Naming, place: str = "") -> tuple[FieldError, ...]:
    """Return an error for each name that the model does not know, with a suggestion in the spelling of `naming`."""
    known = model.fields_by_name()
    accepted = known.keys() | READ_ONLY if model in {TaskCreate, TaskUpdate} else known.keys()
    suggested = [camel if naming == "camel" else field for field, camel in model.spellings()]
    found = [name for name in names if name not in accepted][:MOST_NAMED]
    return tuple(
        FieldError(place + readable(name), f"is not known here{_suggestion(name, suggested)}", "unknown")
        for name in found
    )


def _suggestion(name: str, known: list[str]) -> str:
    close = get_close_matches(name[:LONGEST], known, n=1, cutoff=CLOSE)
    return f": did you mean `{close[0]}`?" if close else ""
