"""A big answer does not go out at once: see `pieces.py`."""

from collections.abc import AsyncIterator

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from todo_service.limits.fair_share import USER
from todo_service.middleware import pieces


@web.middleware
async def send_in_pieces(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send a big answer piece by piece; a smaller one is written at once. Raises `Overloaded` if too much is unsent."""
    response = await handler(request)
    if not isinstance(response, web.Response) or request.method == hdrs.METH_HEAD:
        return response
    if not isinstance(response.body, bytes) or len(response.body) <= pieces.PIECE:
        return response
    with request.app[pieces.UNSENT].taken(USER.get(), len(response.body)):
        return await _paced(request, response, response.body)


async def _paced(request: web.Request, response: web.Response, body: bytes) -> web.StreamResponse:
    paced = web.StreamResponse(status=response.status, headers=response.headers)
    paced.content_length = len(body)
    await pieces.send(request, paced, _whole(body))
    return paced


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body
