"""The access log: one line for each request, the log of its task changes, and its metrics."""

import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from todo_service.auth.caller import CALLER, PROBLEM
from todo_service.observability.metrics import METRICS
from todo_service.postgres.connection import TIMING, Timing
from todo_service.routes import task_log
from todo_service.routes.table import template

CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that went away before it got an answer

log = structlog.get_logger()


@web.middleware
async def log_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log and count the request, also if its client went away."""
    started = time.perf_counter()
    timing = Timing()
    TIMING.set(timing)
    status = CLIENT_CLOSED_REQUEST
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        seconds = time.perf_counter() - started
        task_log.write(request)
        caller, route = request.get(CALLER), template(request)
        log.info(
            "request",
            method=request.method,
            route=route,
            status=status,
            problem=request.get(PROBLEM),
            user_id=caller.user_id if caller else None,
            caller=caller.kind.value if caller else None,
            ms=round(seconds * 1000, 2),
            database_ms=round(timing.seconds * 1000, 2),
            statements=timing.statements,
        )
        if request.transport is None:
            status = CLIENT_CLOSED_REQUEST
        request.app[METRICS].count_answer(request.method, route, status, seconds)
