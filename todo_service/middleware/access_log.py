"""The access log: one line for each request, the log of its task changes, and its metrics."""

import time

from aiohttp import web
from aiohttp.typedefs import Handler

from todo_service.observability import lines, tracing
from todo_service.observability.metrics import METRICS
from todo_service.observability.request_record import RECORD
from todo_service.routes.change_watch import CHANGE_WATCH
from todo_service.routes.table import template

CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that went away before it got an answer


@web.middleware
async def log_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log and count the request, also if its client went away."""
    started = time.perf_counter()
    if tracing.IS_INSTALLED and request.query_string:
        tracing.hide_query(request.path, str(request.url.with_query(None)))
    status = CLIENT_CLOSED_REQUEST
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        record, route = RECORD.get(), template(request)
        assert record is not None
        seconds = time.perf_counter() - started - record.waited
        if record.notes and request.app[CHANGE_WATCH].waiting:
            request.app[CHANGE_WATCH].wake({fields["user_id"] for _, fields in record.notes})
        lines.log_request(request.method, route, status, seconds, record)
        if request.transport is None:
            status = CLIENT_CLOSED_REQUEST
        request.app[METRICS].count_answer(request.method, route, status, seconds)
