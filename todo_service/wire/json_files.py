"""Tasks as JSON: `{"tasks": […]}` with the documents of v1; read in either spelling, and without the frame too."""

from collections.abc import Iterator, Sequence

from todo_service import errors
from todo_service.queries.task_rows import TaskRow
from todo_service.wire import codec
from todo_service.wire.imported_tasks import Record
from todo_service.wire.tasks import document

OPENING = b'{"tasks":['
SEPARATOR = b","
CLOSING = b"]}\n"


def write(rows: Sequence[TaskRow]) -> bytes:
    """Return some tasks, separated."""
    return codec.dump([document(row, "snake") for row in rows])[1:-1]


def read(raw: bytes) -> Iterator[Record]:
    """Yield the records of a file. Raises `MalformedBody`, and `ValidationFailed` if there is no array of tasks."""
    document = codec.load(raw)
    if isinstance(document, dict):
        document = document.get("tasks")
    if not isinstance(document, list):
        raise errors.invalid("tasks", 'must be an array: send {"tasks": [...]} or the array itself', "list_type")
    return (Record(f"tasks[{index}].", task) for index, task in enumerate(document))
