"""Tasks as CSV (RFC 4180): one header line, UTF-8 with a byte order mark so that spreadsheets recognise it.

Text that a spreadsheet could take for a formula is written behind one apostrophe, at the start of a cell and after each
character that may begin a cell where the delimiter is another; reading removes exactly those.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from todo_service.errors import FieldError, invalid
from todo_service.queries.task_rows import TaskRow
from todo_service.wire.import_records import Ignored, ImportOptions, Record, UnreadableError, decode
from todo_service.wire.local_times import from_spreadsheet
from todo_service.wire.tasks import document

BOM = "\ufeff"
COLUMNS = (
    "id", "title", "description", "status", "priority", "due_date", "tags",
    "created_at", "updated_at", "completed_at", "version",
)  # fmt: skip
DELIMITERS = ",;\t"  # the delimiters of spreadsheets, depending on the country
CLEARED_WHEN_EMPTY = {"title": "", "description": None, "due_date": None, "tags": ()}
# Characters that spreadsheets skip, and those that start a formula or cut the cell, full-width ones too.
_FORMULA = "['\\s\x00-\x1f\x7f\u200b-\u200f\u2060\ufeff]*?[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
_CELL = r"(?:\A|(?<=[;\t\r\n]))"  # the start of a cell, for one program or another
_UNGUARDED = re.compile(f"{_CELL}(?={_FORMULA})")
_GUARDED = re.compile(f"{_CELL}'(?={_FORMULA})")
FIELDS = {name.replace("_", ""): name for name in (*COLUMNS[:-1], "completed")}  # by their names in small letters
UNCOUNTED = {"version", "userid"}  # of an export: the service's own
DATES = {"due_date", "created_at", "updated_at", "completed_at"}
YES, NO = {"true", "yes", "1", "x"}, {"false", "no", "0"}
MAX_LINE = 2**17  # characters; the largest task takes about half

_LOOSE = re.compile(r"[\s_-]")  # of column names, besides letter case: `Due Date`, `dueDate`, `due-date`
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')
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
    """Return the text as a cell that holds no formula."""
    return _UNGUARDED.sub("'", text)


def unguarded(cell: str) -> str:
    """Return the text of such a cell."""
    return _GUARDED.sub("", cell)


def read(raw: bytes, options: ImportOptions, ignored: Ignored) -> Iterator[Record]:
    """Yield the records of a file, and name the other columns in `ignored`; malformed CSV ends it with a record that
    reports it.

    Raises:
        MalformedBody: It is not UTF-8.
        ValidationFailed: Its header cannot be used.
    """
    text = decode(raw)
    file = io.StringIO(text, newline="")
    delimiter, skipped = _named_delimiter(file)
    lines = csv.reader(_bounded(file), delimiter=delimiter or _delimiter(text), strict=True)
    try:
        header = next(lines, [])
    except csv.Error as error:
        raise invalid(f"line {skipped + 1}", _message(error), "csv") from None
    columns = _Columns(header, skipped + 1, ignored)
    return _records(lines, columns, skipped, options)


def _named_delimiter(file: io.StringIO) -> tuple[str | None, int]:
    """Return the delimiter that a first line `sep=;` names for spreadsheets, and the number of lines it takes."""
    match = _SEPARATOR_LINE.fullmatch(file.readline(MAX_LINE))
    if match is None:
        file.seek(0)
    return (match[1], 1) if match else (None, 0)


def _delimiter(text: str) -> str:
    """Return the most frequent delimiter of the first line, outside quotes; of equals the first of `DELIMITERS`."""
    header = _LINE_END.split(_QUOTED.sub("", text[:MAX_LINE]), maxsplit=1)[0]
    return max(DELIMITERS, key=header.count)


def _bounded(file: io.StringIO) -> Iterator[str]:
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise csv.Error(f"a line longer than {MAX_LINE:,} characters")
        yield line


class _Columns:
    """The columns of a file: the field of each, None for one that is not known."""

    def __init__(self, header: list[str], line: int, ignored: Ignored) -> None:
        self.fields: list[str | None] = []
        self._names = header
        self._ignored = ignored
        for name in header:
            field = FIELDS.get(_LOOSE.sub("", name).lower())
            self.fields.append(field)
            if field is None and name.strip() and _LOOSE.sub("", name).lower() not in UNCOUNTED:
                ignored.column(name.strip())
        if "title" not in self.fields:
            message = f"must name the columns, `title` among them; known are {', '.join(FIELDS.values())}"
            raise invalid(f"line {line}", message, "header")
        counts = Counter(filter(None, self.fields))
        if twice := [field for field, times in counts.items() if times > 1]:
            raise invalid(f"line {line}", f"names {', '.join(twice)} more than once", "header")


def _records(lines: Any, columns: _Columns, skipped: int, options: ImportOptions) -> Iterator[Record]:
    while True:
        place = f"line {lines.line_num + skipped + 1}: "
        try:
            cells = next(lines, None)
        except csv.Error as error:
            yield Record(place, {"title": "-"}, (FieldError("record", _message(error), "csv"),), is_last=True)
            return
        if cells is None:
            return
        if any(cells):
            yield _record(place, columns, cells, options)


def _record(place: str, columns: _Columns, cells: list[str], options: ImportOptions) -> Record:
    """Return a record; cells missing at its end are absent, empty ones are null where null is allowed."""
    task: dict[str, Any] = {}
    wrong = []
    fields = columns.fields
    if any(cell.strip() for cell in cells[len(fields) :]):
        wrong.append(FieldError("record", "has more cells than the header", "too_many_cells"))
    for field, cell in zip(fields, cells, strict=False):
        if field is None:
            continue
        if cell == "":
            if field in CLEARED_WHEN_EMPTY:
                task[field] = CLEARED_WHEN_EMPTY[field] if field != "tags" else []
            continue
        try:
            task[field] = READERS.get(field, str)(cell) if field not in DATES else from_spreadsheet(cell, options.dates)
        except csv.Error as error:
            wrong.append(FieldError(field, _message(error), "csv"))
        except UnreadableError as error:
            wrong.append(FieldError(field, str(error), error.code))
    return Record(place, task, tuple(wrong))


def _tags(cell: str) -> list[str]:
    lines = list(csv.reader(io.StringIO(unguarded(cell), newline=""), skipinitialspace=True, strict=True))
    if len(lines) > 1:
        raise csv.Error("a line break outside quotes")
    return [tag for tag in lines[0] if tag.strip()] if lines else []


def _completed(cell: str) -> bool:
    word = cell.strip().lower()
    if word not in YES | NO:
        raise UnreadableError("must be true or false", "bool_type")
    return word in YES


def _message(error: csv.Error) -> str:
    return f"is not CSV: {error}. Quotes inside quoted text are doubled"


READERS: dict[str, Callable[[str], object]] = {
    "title": unguarded,
    "description": unguarded,
    "tags": _tags,
    "completed": _completed,
    "id": str.strip,
    "status": str.strip,
    "priority": str.strip,
}
