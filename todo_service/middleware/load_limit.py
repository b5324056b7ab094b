"""Counts the requests that are being handled, so that the end can wait for them, and refuses more than can be served.

A refusal comes before all else and leaves no line in the log: it must cost next to nothing when there are many.
"""

from aiohttp import web
from aiohttp.typedefs import Handler

from todo_service.errors import Overloaded
from todo_service.limits.load import LIFE
from todo_service.middleware.errors import problem
from todo_service.middleware.request_id import named
from todo_service.observability.metrics import METRICS
from todo_service.routes.table import row


@web.middleware
async def count_in_flight(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the request for as long as it is handled. A vital one is handled however many there are."""
    life = request.app[LIFE]
    if life.is_full and not ((route := row(request)) and route.vital):
        life.refused += 1
        request.app[METRICS].shed.inc()
        return problem(Overloaded(), request_id=named(request))
    life.begin()
    try:
        return await handler(request)
    finally:
        life.end()
