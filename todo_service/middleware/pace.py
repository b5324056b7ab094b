"""A big answer does not go out at once: see `pieces.py`."""

from collections.abc import AsyncIterator

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from todo_service import pieces


@web.middleware
async def send_in_pieces(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send a big answer piece by piece; a smaller one is written at once."""
    response = await handler(request)
    if not isinstance(response, web.Response) or request.method == hdrs.METH_HEAD:
        return response
    if not isinstance(response.body, bytes) or len(response.body) <= pieces.PIECE:
        return response
    paced = web.StreamResponse(status=response.status, headers=response.headers)
    paced.content_length = len(response.body)
    await pieces.send(request, paced, _whole(response.body))
    return paced


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body
