"""An answer too big for one write goes out in pieces, so that a client that does not read it cannot hold on to it."""

import asyncio

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

PIECE = 256 * 1024  # bytes; a smaller answer is written at once
PIECE_SECONDS = 30  # how long a client may take to make room for the next piece

log = structlog.get_logger()


@web.middleware
async def send_in_pieces(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send a big answer piece by piece; end the connection of a client that stops reading."""
    response = await handler(request)
    if not isinstance(response, web.Response) or request.method == hdrs.METH_HEAD:
        return response
    if not isinstance(response.body, bytes) or len(response.body) <= PIECE:
        return response
    paced = web.StreamResponse(status=response.status, headers=response.headers)
    paced.content_length = len(response.body)
    await paced.prepare(request)
    try:
        await _write(paced, memoryview(response.body))
    except TimeoutError:
        log.info("reader_too_slow", bytes=len(response.body))
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read its answer") from None
    return paced


async def _write(response: web.StreamResponse, body: memoryview) -> None:
    for start in range(0, len(body), PIECE):
        async with asyncio.timeout(PIECE_SECONDS):
            await response.write(body[start : start + PIECE])
