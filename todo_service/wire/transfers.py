"""The file formats of export and import."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from todo_service import errors
from todo_service.config.settings import Settings
from todo_service.errors import FieldError, ValidationFailed
from todo_service.queries import transfers
from todo_service.queries.task_rows import TaskRow
from todo_service.queries.transfers import ImportFile, ImportResult
from todo_service.wire import (
    calendar_imports,
    calendars,
    csv_files,
    imported_tasks,
    json_files,
    task_examples,
    time_zones,
)
from todo_service.wire.codec import Input, Output
from todo_service.wire.import_records import Ignored, ImportOptions, Record
from todo_service.wire.imported_tasks import ImportedTask
from todo_service.wire.problems import FieldProblem
from todo_service.wire.tasks import Task
from todo_service.wire.time_zones import TimeZone

NO_TASK = "There is no task in this file."

FILE: JsonValue = {"tasks": [{"title": "Write to Charles", "due_date": "2026-12-24"}]}
CSV = Annotated[str, Field(examples=["title,due_date,tags\r\nWrite to Charles,2026-12-24,letters\r\n"])]
CALENDAR = Annotated[str, Field(examples=[calendars.EXAMPLE])]


class ExportQuery(Input):
    """The format of an export."""

    format: Literal["json", "csv", "ics"] = Field("json", description="The format of the file.")


class ImportQuery(Input):
    """The reading of a file: what to do with wrong records, and what the file leaves open."""

    on_error: Literal["fail", "skip"] = Field(
        "fail", description="`skip` takes over the valid tasks and lists the errors of the others."
    )
    time_zone: TimeZone | None = Field(None, description="The zone of due dates with a time but no zone.")
    dates: Literal["mdy", "dmy"] | None = Field(
        None, description="The order of month and day in dates that a spreadsheet has rewritten, in CSV."
    )

    @property
    def options(self) -> ImportOptions:
        return ImportOptions(time_zones.find(self.time_zone) if self.time_zone else None, self.dates)


class Export(Output):
    """All of one's tasks, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tasks": [task_examples.EXAMPLE]}]})

    tasks: list[Task]


class Import(Input):
    """Tasks to take over."""

    model_config = ConfigDict(json_schema_extra={"examples": [FILE]})

    tasks: list[ImportedTask]


class IgnoredParts(Output):
    """Everything in the file that was not taken over."""

    columns: list[str] = Field(description="Columns of a CSV file.")
    components: dict[str, int] = Field(
        description="Components of a calendar that are no tasks, and earlier revisions of a task (`VTODO`)."
    )
    properties: dict[str, int] = Field(description="Properties of tasks in a calendar, members of tasks in JSON.")


class Imported(Output):
    """The result of an import."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "imported": 1,
                    "created": 1,
                    "updated": 0,
                    "unchanged": 0,
                    "version": 7,
                    "skipped": 0,
                    "errors": [],
                    "ignored": {"columns": [], "components": {"VEVENT": 3}, "properties": {"RRULE": 1}},
                    "note": None,
                }
            ]
        }
    )

    imported: int = Field(ge=0, description="How many tasks were taken over or are there already.")
    created: int = Field(ge=0)
    updated: int = Field(ge=0)
    unchanged: int = Field(ge=0)
    version: int = Field(ge=0, description="Your change counter after it.")
    skipped: int = Field(ge=0, description="How many records are wrong and were left out (`on_error=skip`).")
    errors: list[FieldProblem] = Field(description="What is wrong with them.")
    ignored: IgnoredParts
    note: str | None = Field(description="A sentence if the file has no task at all.")


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Attributes:
        opening, separator, closing: The bytes before, between and after the tasks.
        precision: The precision of its moments.
        slice: The number of the largest tasks that are written in 5 to 10 ms.
        exported, imported: The models of the file.
    """

    name: str
    media_type: str
    opening: bytes
    write: Callable[[Sequence[TaskRow]], bytes]
    separator: bytes
    closing: bytes
    read: Callable[[bytes, ImportOptions, Ignored], Iterator[Record]]
    precision: str = "microseconds"
    slice: int = 50
    exported: Any = str
    imported: Any = str

    async def file(self, pages: AsyncIterator[Sequence[TaskRow]]) -> AsyncIterator[bytes]:
        """Yield the file in parts; other requests run between them."""
        before = self.opening
        async for rows in pages:
            for start in range(0, len(rows), self.slice):
                yield before + self.write(rows[start : start + self.slice])
                before = self.separator
                await asyncio.sleep(0)
        yield (before if before is self.opening else b"") + self.closing


FORMATS = {
    "json": Format(
        "json", "application/json", json_files.OPENING, json_files.write, json_files.SEPARATOR, json_files.CLOSING,
        json_files.read, exported=Export, imported=Annotated[Import | list[ImportedTask], Field(examples=[FILE])],
    ),
    "csv": Format(
        "csv", "text/csv", csv_files.OPENING, csv_files.write, csv_files.SEPARATOR, csv_files.CLOSING, csv_files.read,
        exported=CSV, imported=CSV,
    ),
    "ics": Format(
        "ics", "text/calendar", calendars.OPENING, calendars.write, calendars.SEPARATOR, calendars.CLOSING,
        calendar_imports.read, precision="second", slice=3, exported=CALENDAR, imported=CALENDAR,
    ),
}  # fmt: skip
BY_MEDIA_TYPE = {file.media_type: file for file in FORMATS.values()}


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file as it was read: its tasks, the errors of the records left out, and everything not taken over."""

    tasks: ImportFile
    skipped: int
    errors: tuple[FieldError, ...]
    ignored: Ignored


def read(raw: bytes, media_type: str, query: ImportQuery, settings: Settings) -> ReadFile:
    """Validate and pack the tasks of a file. Takes a second for a large one.

    Raises:
        MalformedBody: It is not well-formed.
        ValidationFailed: It cannot be read to its end, or has invalid records, which are not to be skipped.
    """
    if not raw:
        raise errors.invalid("body", "is missing: send the file as the body", "missing")
    file, ignored, options = BY_MEDIA_TYPE[media_type], Ignored(), query.options
    records = file.read(raw, options, ignored)
    checked = imported_tasks.check(records, settings=settings, time_zone=options.time_zone, ignored=ignored)
    if checked.errors and (query.on_error == "fail" or not checked.is_whole):
        raise ValidationFailed(checked.errors)
    tasks = transfers.pack(checked.tasks, precision=file.precision)
    return ReadFile(tasks, checked.failed, checked.errors, ignored)


def check_nothing_ignored(file: ReadFile) -> None:
    """Raise `ValidationFailed`, for strict handling, if a column, a component or a property was not taken over."""
    ignored = file.ignored
    names = dict.fromkeys((*ignored.columns, *ignored.components, *ignored.properties))
    if names:
        raise ValidationFailed(tuple(FieldError(name, "is not known here", "unknown") for name in names))


def answer(result: ImportResult, file: ReadFile) -> dict[str, object]:
    """Return the answer of an import."""
    imported = result.created + result.updated + result.unchanged
    return {
        "imported": imported,
        **result._asdict(),
        "skipped": file.skipped,
        "errors": file.errors,
        "ignored": file.ignored.document(),
        "note": None if imported or file.skipped else NO_TASK,
    }
