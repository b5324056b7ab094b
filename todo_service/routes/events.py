"""Live updates: a stream of server-sent events (WHATWG HTML, 9.2), each a page of changes as in a sync."""

import asyncio
import secrets
import time
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse

from todo_service.auth.access import Access
from todo_service.auth.caller import OWNER, REQUEST_ID
from todo_service.auth.credentials import bearer_token, identify
from todo_service.auth.tickets import SECONDS, TICKETS
from todo_service.config.scopes import Scope
from todo_service.errors import (
    ApiError,
    BadRequest,
    CursorExpired,
    DatabaseUnavailable,
    IssuerUnavailable,
    TooManyStreams,
)
from todo_service.observability.metrics import METRICS
from todo_service.postgres.failures import is_unavailable
from todo_service.queries.changes import ChangePage
from todo_service.queries.task_lists import Stamp
from todo_service.routes import responses
from todo_service.routes.change_watch import CHANGE_WATCH
from todo_service.routes.descriptions import describe
from todo_service.routes.sync import read_page
from todo_service.routes.table import Route
from todo_service.wire import codec, problems
from todo_service.wire.sync import Cursor, EventsQuery, Ticket, document, parse_cursor

LAST_EVENT_ID = "Last-Event-ID"
EVENT_STREAM = "text/event-stream"
PAGE = 100  # changes in an event, so that a slow reader holds little
CHECK_SECONDS = 4.0  # between two looks at the credential
PING_SECONDS = 15
SEND_SECONDS = 30.0  # how long a client may read nothing
RETRY_MS, SPREAD_MS = 2000, 5000
PAUSE_SECONDS = 1.0  # while the database is away

log = structlog.get_logger()


@describe(
    {200: {EVENT_STREAM: str}}, request_headers=(LAST_EVENT_ID,), errors=(CursorExpired, TooManyStreams, BadRequest)
)
async def stream_events(request: web.Request, query: EventsQuery) -> web.StreamResponse:
    """Read the changes of your own tasks as they happen. Each event is a page as in a sync, its id the cursor to go on
    from: after a break send it as `Last-Event-ID` or `cursor`. Without one the stream begins with all your tasks. A
    client that can send no header shows a `ticket`.
    """
    cursor = _start(request, query)
    page = await read_page(request, cursor, PAGE)
    response = _Stream(sep="\n", ping_interval=PING_SECONDS, send_timeout=SEND_SECONDS)
    response.headers.update(responses.PRIVATE)
    with request.app[CHANGE_WATCH].place(request[OWNER]):
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers=responses.PRIVATE, content_type=EVENT_STREAM)
        request.app[METRICS].open_streams.inc()
        try:
            await response.prepare(request)
            async with response:
                await response.send_retry(RETRY_MS)
                state = await _send(request, response, cursor, page)
                del page  # a stream that waits keeps none of its tasks
                await _follow(request, response, state)
        except (ConnectionResetError, TimeoutError):
            log.info("stream_broken_off", user_id=request[OWNER])
        finally:
            request.app[METRICS].open_streams.dec()
    return response


@describe({200: Ticket})
async def make_ticket(request: web.Request) -> web.Response:
    """Get a ticket for one stream, for a client that can send no header. It is good for 60 seconds, in `?ticket=`."""
    ticket = request.app[TICKETS].seal(bearer_token(request))
    return responses.json({"ticket": ticket, "expires_in": SECONDS}, headers=responses.SECRET)


class _Stream(EventSourceResponse):
    """A stream of events."""

    async def send_page(self, page: ChangePage, cursor: Cursor) -> None:
        """Send a page of changes."""
        await self.send(codec.dump(await document(page, cursor)).decode(), id=str(cursor))

    async def send_error(self, error: ApiError, request_id: str) -> None:
        """Send the problem that ends the stream."""
        await self.send(problems.document(error, request_id=request_id).decode(), event="error")

    async def send_retry(self, milliseconds: int) -> None:
        """Send the time after which the client connects again."""
        await self.write(f"retry: {milliseconds}\n\n".encode())


def _start(request: web.Request, query: EventsQuery) -> Cursor:
    """Return the cursor to go on from: that of the last event that the client has seen, else that of the query."""
    sent = request.headers.get(LAST_EVENT_ID, "")
    if not sent:
        return query.start(request[OWNER])
    cursor = parse_cursor(sent, request[OWNER])
    if cursor is None:
        raise BadRequest("`Last-Event-ID` must be the id of an event of yours. Leave it out to begin anew.")
    return cursor


class _State(NamedTuple):
    """The position of a stream: the cursor after its last page, the state of the tasks then, and whether there is more
    to be read at once.
    """

    cursor: Cursor
    stamp: Stamp | None
    has_more: bool


async def _send(
    request: web.Request, response: _Stream, cursor: Cursor, page: ChangePage | None, *, has_waited: bool = False
) -> _State:
    """Send the page after the cursor, unless it is empty."""
    cursor = cursor.after(page)
    if page is None:
        return _State(cursor, None, has_more=False)
    if page.changes:
        await response.send_page(page, cursor)
        _measure(request, page, has_waited=has_waited)
    return _State(cursor, Stamp(page.epoch, page.version), page.has_more)


async def _follow(request: web.Request, response: _Stream, state: _State) -> None:
    """Send all pages as they come, until the client goes, the process or the credential ends, or the cursor expires."""
    watch = request.app[CHANGE_WATCH]
    checked, is_behind, has_waited = time.monotonic(), state.has_more, False
    while response.is_connected():
        if not is_behind:
            is_behind, has_waited = await watch.wait(request, state.stamp, CHECK_SECONDS), True
        if request.transport is None:
            return
        if watch.is_closing:
            await response.send_retry(secrets.randbelow(SPREAD_MS))
            return
        try:
            if time.monotonic() - checked >= CHECK_SECONDS:
                await _check_credential(request)
                checked = time.monotonic()
            if is_behind:
                page = await _read_patiently(request, state.cursor)
                state = await _send(request, response, state.cursor, page, has_waited=has_waited)
                del page
                is_behind = state.has_more
        except ApiError as error:
            await response.send_error(error, request[REQUEST_ID])
            return


async def _check_credential(request: web.Request) -> None:
    """Raise `Unauthenticated` or `AccountInactive` if the credential of the stream has ended."""
    try:
        await identify(request)
    except (DatabaseUnavailable, IssuerUnavailable):
        return  # it is checked again
    except Exception as error:
        if not is_unavailable(error):
            raise


async def _read_patiently(request: web.Request, cursor: Cursor) -> ChangePage | None:
    """Read the page after the cursor, however long the database is away. Raises `CursorExpired`."""
    watch = request.app[CHANGE_WATCH]
    while True:
        try:
            return await read_page(request, cursor, PAGE)
        except Exception as error:
            if not is_unavailable(error) or watch.is_closing or request.transport is None:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


def _measure(request: web.Request, page: ChangePage, *, has_waited: bool) -> None:
    """Count an event, and the time since its newest change, unless the client has begun with older ones."""
    newest = page.changes[-1].task
    lag = (datetime.now(UTC) - newest.updated_at).total_seconds() if newest and has_waited else None
    request.app[METRICS].event_sent(lag)


EVENTS = (
    Route(
        "GET",
        "/api/v1/events",
        stream_events,
        Access.USER,
        "Read the changes as they happen",
        (Scope.TASKS_READ,),
        query=EventsQuery,
        takes_ticket=True,
    ),
    Route(
        "POST",
        "/api/v1/events/ticket",
        make_ticket,
        Access.PERSON,
        "Get a ticket for a stream",
        (Scope.TASKS_READ,),
    ),
)
