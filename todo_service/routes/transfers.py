"""Export and import: all of one's tasks as a file, and a file's tasks as one's own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

from aiohttp import hdrs, web

from todo_service.auth.access import Access
from todo_service.auth.accounts import hold_tasks
from todo_service.auth.caller import CALLER, OWNER
from todo_service.config.settings import SETTINGS
from todo_service.errors import QuotaExceeded
from todo_service.middleware import pieces
from todo_service.postgres.connector import Connection
from todo_service.postgres.pool import DATABASE
from todo_service.queries import transfers
from todo_service.queries.tasks import TaskRow
from todo_service.queries.transfers import Sent
from todo_service.routes import request_bodies, responses, task_log
from todo_service.routes.idempotency import HEADER as IDEMPOTENCY_KEY
from todo_service.routes.idempotency import once
from todo_service.routes.table import Route
from todo_service.wire.transfers import BY_MEDIA_TYPE, FORMATS, READERS, ExportQuery, Imported, answer

PAGE = 250  # tasks: a megabyte of the largest


async def export_tasks(request: web.Request, query: ExportQuery) -> web.StreamResponse:
    """Read all your tasks as a file, oldest first. A file that cannot be finished ends in a broken connection."""
    file = FORMATS[query.format]
    first = await _page(request, transfers.BEGINNING)  # before the answer begins: if this fails, it can still say so
    name = f"tasks-{datetime.now(UTC):%Y-%m-%d}.{file.name}"
    response = web.StreamResponse(headers=responses.PRIVATE)
    response.headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{name}"'
    response.content_type = file.media_type
    response.charset = "utf-8"
    if request.method != hdrs.METH_HEAD:
        await pieces.send(request, response, file.file(_pages(request, first)))
    return response


async def import_tasks(request: web.Request, body: bytes) -> web.Response:
    """Take over a file's tasks: all of them, or none if one is wrong. A task with an `id` that you have is set to
    what the file says.
    """
    sent = await request.app[READERS].read(body, request.content_type)
    return await once(request, lambda db: _import(request, db, sent), atomic=True)


async def _import(request: web.Request, db: Connection, sent: Sent) -> web.Response:
    limit = request.app[SETTINGS].max_tasks_per_user
    await hold_tasks(db, request[CALLER])
    merged = await transfers.merge(db, owner_id=request[OWNER], max_tasks=limit, sent=sent)
    if merged is None:
        raise QuotaExceeded(f"With these you would hold more than {limit:,} tasks. {QuotaExceeded.remedy}")
    task_log.note(request, "tasks_imported", **merged._asdict())
    return responses.json(answer(merged), headers=responses.PRIVATE)


async def _pages(request: web.Request, first: list[TaskRow]) -> AsyncIterator[list[TaskRow]]:
    rows = first
    yield rows
    while len(rows) == PAGE:
        rows = await _page(request, (rows[-1].created_at, rows[-1].id))
        yield rows


async def _page(request: web.Request, after: tuple[datetime, UUID]) -> list[TaskRow]:
    async with request.app[DATABASE].connection() as db:  # given back before a byte of it is written
        return await transfers.select_page(db, owner_id=request[OWNER], after=after, limit=PAGE)


TRANSFERS = (
    Route(
        "GET",
        "/api/v1/export",
        export_tasks,
        Access.USER,
        "Export your tasks",
        query=ExportQuery,
        answers={200: {file.media_type: file.exported for file in FORMATS.values()}},
        gives=(hdrs.CONTENT_DISPOSITION,),
    ),
    Route(
        "POST",
        "/api/v1/import",
        import_tasks,
        Access.USER,
        "Import tasks",
        body=bytes,
        max_body=request_bodies.LARGE_BODY,
        media={name: file.imported for name, file in BY_MEDIA_TYPE.items()},
        answers={200: Imported},
        takes=(IDEMPOTENCY_KEY,),
        raises=(QuotaExceeded,),
    ),
)
