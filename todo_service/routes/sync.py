"""Delta sync: the changes since a client's last request."""

import time

from aiohttp import web
from multidict import CIMultiDict

from todo_service.auth.access import Access
from todo_service.auth.caller import OWNER
from todo_service.auth.credentials import identify
from todo_service.config.scopes import Scope
from todo_service.errors import CursorExpired, TooManyStreams
from todo_service.observability.metrics import METRICS
from todo_service.postgres.database import DATABASE
from todo_service.queries import changes
from todo_service.queries.changes import ChangePage
from todo_service.queries.task_lists import Stamp
from todo_service.routes import responses
from todo_service.routes.change_watch import CHANGE_WATCH
from todo_service.routes.compression import compressed, wants_gzip
from todo_service.routes.descriptions import describe
from todo_service.routes.list_cache import TASK_STAMPS
from todo_service.routes.table import Route
from todo_service.wire import codec
from todo_service.wire.sync import NOTHING_YET, Cursor, SyncPage, SyncQuery, document


@describe({200: SyncPage}, errors=(CursorExpired, TooManyStreams))
async def sync_tasks(request: web.Request, query: SyncQuery) -> web.Response:
    """Read the changes of your own tasks since a cursor, in their order; without a cursor, all.

    Continue with the `cursor` of the answer, at once while `has_more` is true. With `wait`, an answer without changes
    waits until there is one, at most so many seconds.
    """
    cursor = query.start(request[OWNER])
    page = await read_page(request, cursor, query.limit)
    if query.wait and not (page and page.changes):
        cursor, page = await _wait(request, cursor.after(page), page, query)
    headers = CIMultiDict(responses.PRIVATE | responses.JSON)
    body = codec.dump(await document(page, cursor.after(page)))
    return web.Response(body=await compressed(body, headers, wanted=wants_gzip(request)), headers=headers)


async def _wait(
    request: web.Request, cursor: Cursor, page: ChangePage | None, query: SyncQuery
) -> tuple[Cursor, ChangePage | None]:
    """Return the first page with changes, and the cursor before it; the last page when the time is over.

    Raises:
        Unauthenticated, AccountInactive: The credential has ended meanwhile.
    """
    watch, until = request.app[CHANGE_WATCH], time.monotonic() + query.wait
    with watch.place(request[OWNER]):
        while (left := until - time.monotonic()) > 0 and not watch.is_closing and request.transport is not None:
            await watch.wait(request, Stamp(page.epoch, page.version) if page else None, left)
            page = await read_page(request, cursor, query.limit)
            if page and page.changes:
                break
            cursor = cursor.after(page)
    await identify(request)
    return cursor, page


async def read_page(request: web.Request, cursor: Cursor, limit: int) -> ChangePage | None:
    """Read the changes since the cursor. Raises `CursorExpired`."""
    page = await _select_page(request, cursor, limit)
    if cursor.is_expired(page):
        request.app[METRICS].sync_resets.inc()
        raise CursorExpired
    return page


async def _select_page(request: web.Request, cursor: Cursor, limit: int) -> ChangePage | None:
    """Read a page. Most clients ask again and have all changes, which their stamp shows."""
    owner_id, until = request[OWNER], request.app[DATABASE].deadline()
    if cursor.epoch != NOTHING_YET:
        stamp = Stamp(cursor.epoch, cursor.position)
        if await request.app[TASK_STAMPS].read(owner_id) == stamp:
            return ChangePage(stamp.epoch, stamp.version, sync_floor=0, changes=[], has_more=False)
    async with request.app[DATABASE].connection(until=until) as db:
        return await changes.select_page(
            db, owner_id=owner_id, position=cursor.position, deletions_since=cursor.deletions_since, limit=limit
        )


SYNC = (
    Route(
        "GET",
        "/api/v1/sync",
        sync_tasks,
        Access.USER,
        "Read the changes since a cursor",
        (Scope.TASKS_READ,),
        query=SyncQuery,
    ),
)
