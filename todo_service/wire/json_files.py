"""Tasks as JSON: `{"tasks": […]}` with the documents of v1; read in either spelling, and without the frame too.

A file is read task by task: to parse sixteen megabytes in one go would block every thread for a second.
"""

import json
import re
from collections.abc import Iterator, Sequence

from todo_service import errors
from todo_service.queries.task_rows import TaskRow
from todo_service.wire import codec
from todo_service.wire.import_records import Ignored, ImportOptions, Record, decode
from todo_service.wire.imported_tasks import ImportedTask
from todo_service.wire.strict_json import DECODER, RepeatedNameError
from todo_service.wire.tasks import document

OPENING = b'{"tasks":['
SEPARATOR = b","
CLOSING = b"]}\n"

UNCOUNTED = {"user_id", "userId", "version"}  # of an export: the service's own
MAX_MEMBERS = 100  # beside the tasks
SMALLEST_WINDOW, LARGEST_WINDOW = 2**12, 2**17  # characters; the largest task takes about half of it, if all is escaped

_SPACE = re.compile(r"[ \t\r\n]*")


def write(rows: Sequence[TaskRow]) -> bytes:
    """Return some tasks, separated."""
    return codec.dump([document(row, "snake") for row in rows])[1:-1]


def read(raw: bytes, options: ImportOptions, ignored: Ignored) -> Iterator[Record]:
    """Yield the records of a file, and count unknown members of tasks in `ignored`.

    Raises `MalformedBody`, and `ValidationFailed` if there is no array of tasks.
    """
    text = decode(raw)
    known = ImportedTask.fields_by_name().keys() | UNCOUNTED
    try:
        for index, task in enumerate(_Scanner(text).tasks()):
            if isinstance(task, dict):
                for name in task.keys() - known:
                    ignored.property(name)
            yield Record(f"tasks[{index}].", task)
    except (ValueError, RecursionError) as error:
        raise codec.malformed(error) from None


class _Scanner:
    """A position in a JSON text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def tasks(self) -> Iterator[object]:
        """Yield the tasks: the elements of the array, or of the array `tasks` in an object.

        Raises as `strict_json.load` does, and `ValidationFailed`.
        """
        match self._next():
            case "[":
                yield from self._elements()
            case "{":
                yield from self._tasks_in_object()
            case _:
                self._value()
                self._at_end()
                raise _no_array()
        self._at_end()

    def _tasks_in_object(self) -> Iterator[object]:
        names = set[object]()
        for name in self._members():
            if name in names:
                raise RepeatedNameError
            names.add(name)
            if len(names) > MAX_MEMBERS:
                raise errors.invalid("body", f"must have at most {MAX_MEMBERS} members", "too_many")
            if name != "tasks":
                self._value()
            elif self._next() == "[":
                yield from self._elements()
            else:
                raise _no_array()
        if "tasks" not in names:
            raise _no_array()

    def _elements(self) -> Iterator[object]:
        self._at += 1
        if self._next() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            if self._take(",", "]") == "]":
                return

    def _members(self) -> Iterator[object]:
        """Yield the name of each member, with the position at its value."""
        self._at += 1
        if self._next() == "}":
            self._at += 1
            return
        while True:
            if self._next() != '"':
                raise self._error("Expecting property name enclosed in double quotes")
            name = self._value()
            self._take(":")
            yield name
            if self._take(",", "}") == "}":
                return

    def _value(self) -> object:
        """Return the value that begins here. It is parsed in a part of the text that grows until it holds it."""
        self._next()
        size = SMALLEST_WINDOW
        while True:
            window = self._text[self._at : self._at + size]
            is_rest = self._at + size >= len(self._text)
            try:
                value, end = DECODER.raw_decode(window)
            except json.JSONDecodeError as error:
                if is_rest or (error.pos < size // 2 and not error.msg.startswith("Unterminated")):
                    raise json.JSONDecodeError(error.msg, self._text, self._at + error.pos) from None
            else:
                if is_rest or end < size:
                    self._at += end
                    return value
            if size == LARGEST_WINDOW:
                message = f"holds a value of more than {LARGEST_WINDOW:,} characters, or one that is not JSON"
                raise errors.invalid("body", message, "too_long")
            size *= 2

    def _next(self) -> str:
        """Return the next character that is not space, "" at the end."""
        space = _SPACE.match(self._text, self._at)
        assert space is not None
        self._at = space.end()
        return self._text[self._at : self._at + 1]

    def _take(self, *marks: str) -> str:
        mark = self._next()
        if mark not in marks:
            raise self._error(f"Expecting '{marks[0]}' delimiter")
        self._at += 1
        return mark

    def _at_end(self) -> None:
        if self._next():
            raise self._error("Extra data")

    def _error(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self._text, self._at)


def _no_array() -> errors.ValidationFailed:
    return errors.invalid("tasks", 'must be an array: send {"tasks": [...]} or the array itself', "list_type")
