"""Tasks as CSV (RFC 4180): one header line, UTF-8 with a byte order mark so that spreadsheets recognise it.

A cell that a spreadsheet could take for a formula is written behind one apostrophe; reading removes exactly that one.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from todo_service.errors import FieldError, MalformedBody, invalid
from todo_service.queries.task_rows import TaskRow
from todo_service.wire.imported_tasks import Record
from todo_service.wire.tasks import document

BOM = "\ufeff"
COLUMNS = (
    "id", "title", "description", "status", "priority", "due_date", "tags",
    "created_at", "updated_at", "completed_at", "version",
)  # fmt: skip
DELIMITERS = ",;\t"  # the delimiters of spreadsheets, depending on the country
CLEARED_WHEN_EMPTY = {"title": "", "description": None, "due_date": None, "tags": ()}
# Characters that spreadsheets skip, and those that start a formula or cut the cell, full-width ones too.
_FORMULA = re.compile("['\\s\x00-\x1f\x7f\u200b-\u200f\u2060\ufeff]*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_LINE_END = re.compile(r"\r\n|\r|\n")


def _line(cells: Sequence[object], end: str = "\r\n") -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator=end or "\r\n").writerow(cells)
    return buffer.getvalue() if end else buffer.getvalue()[:-2]


OPENING = (BOM + _line(COLUMNS)).encode()
SEPARATOR = b""
CLOSING = b""


def write(rows: Sequence[TaskRow]) -> bytes:
    """Return some tasks, one record each."""
    return "".join(_line(_cells(document(row, "snake"))) for row in rows).encode()


def _cells(task: dict[str, Any]) -> list[object]:
    tags = _line(task["tags"], end="") if task["tags"] else ""
    task |= {"title": guarded(task["title"]), "description": guarded(task["description"] or ""), "tags": guarded(tags)}
    return [task[column] for column in COLUMNS]


def guarded(text: str) -> str:
    """Return the text as a cell that is not a formula."""
    return "'" + text if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """Return the text of such a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell, 1) else cell


def read(raw: bytes) -> Iterator[Record]:
    """Yield the records of a file; malformed CSV ends it with a record that reports it.

    Raises:
        MalformedBody: It is not UTF-8.
        ValidationFailed: Its header cannot be used.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MalformedBody("The body is not UTF-8. Save the file in that encoding.") from None
    first_line = _LINE_END.split(text, maxsplit=1)[0]
    delimiter = next((mark for mark in DELIMITERS if mark in first_line), ",")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(lines, [])
    except csv.Error as error:
        raise invalid("line 1", _message(error), "csv") from None
    return _records(lines, _fields(header))


def _fields(header: list[str]) -> list[str]:
    """Return the column names. Raises `ValidationFailed` if `title` is missing or a known one is repeated."""
    fields = [name.strip().lower() for name in header]
    if "title" not in fields:
        message = f"must name the columns, `title` among them; known are {', '.join(COLUMNS[:-1])}"
        raise invalid("line 1", message, "header")
    twice = [name for name, times in Counter(fields).items() if name in COLUMNS and times > 1]
    if twice:
        raise invalid("line 1", f"names {', '.join(twice)} more than once", "header")
    return fields


def _records(lines: Any, fields: list[str]) -> Iterator[Record]:
    while True:
        place = f"line {lines.line_num + 1}: "
        try:
            cells = next(lines, None)
        except csv.Error as error:
            yield Record(place, {"title": "-"}, (FieldError("record", _message(error), "csv"),))
            return
        if cells is None:
            return
        if any(cells):
            yield _record(place, fields, cells)


def _record(place: str, fields: list[str], cells: list[str]) -> Record:
    """Return a record; cells missing at its end are absent, empty ones are null where null is allowed."""
    task: dict[str, Any] = {}
    wrong = []
    if len(cells) > len(fields):
        wrong.append(FieldError("record", "has more cells than the header", "too_many_cells"))
    for field, cell in zip(fields, cells, strict=False):
        if cell == "":
            if field in CLEARED_WHEN_EMPTY:
                task[field] = CLEARED_WHEN_EMPTY[field] if field != "tags" else []
        elif field in COLUMNS:
            try:
                task[field] = IMPORT_READER.get(field, str)(cell)
            except csv.Error as error:
                wrong.append(FieldError(field, _message(error), "csv"))
    return Record(place, task, tuple(wrong))


def _tags(cell: str) -> list[str]:
    lines = list(csv.reader(io.StringIO(unguarded(cell), newline=""), skipinitialspace=True, strict=True))
    if len(lines) > 1:
        raise csv.Error("a line break outside quotes")
    return lines[0] if lines else []


def _message(error: csv.Error) -> str:
    return f"is not CSV: {error}. Quotes inside quoted text are doubled"


IMPORT_READER: dict[str, Callable[[str], object]] = {
    "title": unguarded,
    "description": unguarded,
    "tags": _tags,
    "id": str.strip,
    "status": str.strip,
    "priority": str.strip,
}
