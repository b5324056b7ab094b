"""Counts the requests that are being handled, so that the end can wait for them."""

from aiohttp import web
from aiohttp.typedefs import Handler

from todo_service.life import LIFE


@web.middleware
async def count_in_flight(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the request for as long as it is handled."""
    life = request.app[LIFE]
    life.begin()
    try:
        return await handler(request)
    finally:
        life.end()
