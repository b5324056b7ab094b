"""Delta sync: the changes since a client's last request."""

from aiohttp import web

from todo_service.auth.access import Access
from todo_service.auth.caller import OWNER
from todo_service.errors import CursorExpired
from todo_service.observability.metrics import METRICS
from todo_service.postgres.database import DATABASE
from todo_service.queries import changes
from todo_service.routes import responses
from todo_service.routes.table import Route, describe
from todo_service.wire.sync import SyncPage, SyncQuery, document


@describe({200: SyncPage}, errors=(CursorExpired,))
async def sync_tasks(request: web.Request, query: SyncQuery) -> web.Response:
    """Read the changes of your own tasks since a cursor, in their order; without a cursor, all.

    Continue with the `cursor` of the answer, at once while `has_more` is true.
    """
    cursor = query.start(request[OWNER])
    async with request.app[DATABASE].connection() as db:
        page = await changes.select_page(
            db,
            owner_id=request[OWNER],
            position=cursor.position,
            deletions_since=cursor.deletions_since,
            limit=query.limit,
        )
    if cursor.is_expired(page):
        request.app[METRICS].sync_resets.inc()
        raise CursorExpired
    return responses.json(await document(page, cursor.after(page)), headers=responses.PRIVATE)


SYNC = (Route("GET", "/api/v1/sync", sync_tasks, Access.USER, "Read the changes since a cursor", query=SyncQuery),)
