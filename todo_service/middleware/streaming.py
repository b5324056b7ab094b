"""Large bodies are sent in chunks, and a client that reads too slowly is cut off."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from todo_service.limits.fair_share import PerUserByteBudget
from todo_service.limits.load import LOAD
from todo_service.observability.request_record import RECORD
from todo_service.postgres.failures import is_unavailable
from todo_service.routes.responses import StreamedResponse

CHUNK = 256 * 1024  # bytes
CHUNK_SECONDS = 30  # how long a client may take to accept the next chunk
MAX_UNSENT = 256 * 1024 * 1024  # bytes of all bodies that are being sent, in each worker
MAX_UNSENT_PER_USER = 64 * 1024 * 1024

log = structlog.get_logger()

UNSENT = web.AppKey("unsent", PerUserByteBudget)


@web.middleware
async def stream_large_bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send a `StreamedResponse` or a large body chunk by chunk. Raises `Overloaded` if too many bytes are unsent."""
    response = await handler(request)
    if isinstance(response, web.Response):
        body = response.body
        if not isinstance(body, bytes) or len(body) <= CHUNK or request.method == hdrs.METH_HEAD:
            return response
        record = RECORD.get()
        user_id = record.user_id if record else None
        with request.app[UNSENT].reserve(user_id, len(body), evict=lambda: _cut(request)):
            streamed = web.StreamResponse(status=response.status, headers=response.headers)
            streamed.content_length = len(body)
            await _send(request, streamed, _whole(body))
        return streamed
    if isinstance(response, StreamedResponse) and request.method != hdrs.METH_HEAD:
        await _send(request, response, response.chunks)
    return response


async def _send(request: web.Request, response: web.StreamResponse, parts: AsyncIterable[bytes]) -> None:
    """Send the head of `response`, then its body part by part.

    Raises:
        ConnectionResetError: The client stopped reading, or `parts` failed. The connection is cut, so that the client
            knows that the body is incomplete.
    """
    await response.prepare(request)
    try:
        async for part in parts:
            await _write(request, response, memoryview(part))
    except Exception as error:
        if not _is_cut(request):
            reason = None if is_unavailable(error) else error
            log.error("answer_broken_off", kind=type(error).__name__, exc_info=reason)
            _cut(request)
        raise ConnectionResetError("the answer was broken off") from error


async def _write(request: web.Request, response: web.StreamResponse, body: memoryview) -> None:
    for start in range(0, len(body), CHUNK):
        try:
            async with asyncio.timeout(CHUNK_SECONDS):
                with request.app[LOAD].wait():
                    await response.write(body[start : start + CHUNK])
        except TimeoutError:
            log.info("reader_too_slow", bytes=response.body_length)
            _cut(request)
            raise ConnectionResetError("the client does not read its answer") from None


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _is_cut(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
