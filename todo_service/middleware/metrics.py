"""Every answer counts, whatever made it, and is timed."""

import time

from aiohttp import web
from aiohttp.typedefs import Handler

from todo_service.observability.metrics import METRICS
from todo_service.routes.table import template


@web.middleware
async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the answer under its route, as 499 if the client went away before it got one."""
    metrics = request.app[METRICS]
    started = time.perf_counter()
    metrics.in_flight.inc()
    status = 499
    try:
        response = await handler(request)
        if request.transport is not None:
            status = response.status
        return response
    finally:
        metrics.in_flight.dec()
        metrics.answered(request.method, template(request), status, time.perf_counter() - started)
