"""One log line for each request: who, what, how it ended, how long it took and how much of that the database."""

import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from todo_service.auth.caller import CALLER, PROBLEM
from todo_service.postgres.pool import TIMING, Timing
from todo_service.routes.table import template

log = structlog.get_logger()


@web.middleware
async def log_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Write the line, also for a request whose client went away (status 499)."""
    timing = Timing()
    TIMING.set(timing)
    started = time.perf_counter()
    status = 499
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        caller = request.get(CALLER)
        log.info(
            "request",
            method=request.method,
            route=template(request),
            status=status,
            problem=request.get(PROBLEM),
            user_id=caller.user_id if caller else None,
            caller=caller.kind.value if caller else None,
            ms=round((time.perf_counter() - started) * 1000, 2),
            database_ms=round(timing.seconds * 1000, 2),
            statements=timing.statements,
        )
