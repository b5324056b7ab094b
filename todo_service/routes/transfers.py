"""Export and import: all of one's tasks as a file, and a file's tasks as one's own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

from aiohttp import hdrs, web

from todo_service.auth.access import Access
from todo_service.auth.accounts import lock_tasks
from todo_service.auth.caller import CALLER, OWNER
from todo_service.config.scopes import Scope
from todo_service.config.settings import SETTINGS
from todo_service.errors import Overloaded, QuotaExceeded
from todo_service.limits.fair_share import PerUserByteBudget
from todo_service.postgres.connection import Connection
from todo_service.postgres.database import DATABASE
from todo_service.queries import transfers
from todo_service.queries.task_rows import TaskRow
from todo_service.routes import request_bodies, responses, task_log
from todo_service.routes.descriptions import describe
from todo_service.routes.idempotency import HEADER as IDEMPOTENCY_KEY
from todo_service.routes.idempotency import run_idempotent
from todo_service.routes.responses import StreamedResponse
from todo_service.routes.strict_handling import STRICT
from todo_service.routes.table import Route
from todo_service.wire.import_reader import IMPORT_READER
from todo_service.wire.transfers import (
    BY_MEDIA_TYPE,
    FORMATS,
    ExportQuery,
    Imported,
    ImportQuery,
    ReadFile,
    answer,
    check_nothing_ignored,
)

IMPORTS_AT_ONCE = 4  # of the largest files, in a worker; one user has one
IMPORT_BYTES = web.AppKey("import_bytes", PerUserByteBudget)
PAGE = 250  # tasks: a megabyte of the largest


@describe(
    {200: {file.media_type: file.exported for file in FORMATS.values()}}, response_headers=(hdrs.CONTENT_DISPOSITION,)
)
async def export_tasks(request: web.Request, query: ExportQuery) -> web.StreamResponse:
    """Read all your tasks as a file, oldest first. A file that cannot be finished ends in a broken connection."""
    file = FORMATS[query.format]
    first = await _page(request, transfers.BEGINNING)  # before the response begins: a failure can still be answered
    name = f"tasks-{datetime.now(UTC):%Y-%m-%d}.{file.name}"
    headers = responses.PRIVATE | {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"'}
    return StreamedResponse(file.file(_pages(request, first)), headers=headers, content_type=file.media_type)


@describe({200: Imported}, request_headers=(IDEMPOTENCY_KEY,), errors=(QuotaExceeded,))
async def import_tasks(request: web.Request, query: ImportQuery) -> web.Response:
    """Take over a file's tasks: all of them, or none if one is wrong, unless wrong ones are to be skipped. A task with
    the `id` of one of yours replaces its fields.
    """
    max_size = request.app[SETTINGS].max_import_bytes
    length = request.content_length
    size = max_size if length is None else min(length, max_size)
    user_id = request[CALLER].user_id

    def evict() -> None:
        request.content.set_exception(Overloaded())

    with request.app[IMPORT_BYTES].reserve(user_id, size, evict) as reservation:
        body = await request_bodies.read(request, max_size=max_size, accepted=BY_MEDIA_TYPE)
        reservation.evict = None  # from here on it takes the machine's time, not the client's
        file = await request.app[IMPORT_READER].read(body, request.content_type, query, user_id=user_id)
        if STRICT in request:
            check_nothing_ignored(file)
        return await run_idempotent(request, _import, file, transactional=True)


async def _import(db: Connection, request: web.Request, file: ReadFile) -> web.Response:
    limit = request.app[SETTINGS].max_tasks_per_user
    await lock_tasks(db, request[CALLER])
    result = await transfers.merge(
        db, owner_id=request[OWNER], max_tasks=limit, file=file.tasks, origin=task_log.origin_of(request)
    )
    if result is None:
        raise QuotaExceeded(f"With these you would hold more than {limit:,} tasks. {QuotaExceeded.remedy}")
    task_log.note_many(request, "tasks_imported", **result._asdict())
    return responses.json(answer(result, file), headers=responses.PRIVATE)


async def _pages(request: web.Request, first: list[TaskRow]) -> AsyncIterator[list[TaskRow]]:
    rows = first
    yield rows
    while len(rows) == PAGE:
        rows = await _page(request, (rows[-1].created_at, rows[-1].id))
        yield rows


async def _page(request: web.Request, after: tuple[datetime, UUID]) -> list[TaskRow]:
    async with request.app[DATABASE].connection() as db:  # returned before a byte of the page is written
        return await transfers.select_page(db, owner_id=request[OWNER], after=after, limit=PAGE)


TRANSFERS = (
    Route(
        "GET", "/api/v1/export", export_tasks, Access.USER, "Export your tasks", (Scope.TASKS_READ,), query=ExportQuery
    ),
    Route(
        "POST",
        "/api/v1/import",
        import_tasks,
        Access.USER,
        "Import tasks",
        (Scope.TASKS_WRITE,),
        body=bytes,
        reads_body=True,
        query=ImportQuery,
        media={name: file.imported for name, file in BY_MEDIA_TYPE.items()},
    ),
)
