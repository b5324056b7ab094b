"""An answer too big for one write goes out in pieces, so that a client that does not read it cannot hold on to it."""

import asyncio
from collections.abc import AsyncIterable

import structlog
from aiohttp import web

from todo_service.limits.fair_share import Room
from todo_service.limits.load import LIFE
from todo_service.postgres.failures import unavailable

PIECE = 256 * 1024  # bytes
PIECE_SECONDS = 30  # how long a client may take to make room for the next piece

MAX_UNSENT = 256 * 1024 * 1024  # bytes of all answers that are being sent, in each worker
MAX_UNSENT_OF_ONE = 64 * 1024 * 1024  # of one user's

log = structlog.get_logger()


async def send(request: web.Request, response: web.StreamResponse, parts: AsyncIterable[bytes]) -> None:
    """Send the head of `response`, then its body part by part.

    The connection is cut, and `ConnectionResetError` raised, if the client stops reading, or if `parts` fails: the
    client then knows that it has not got all.
    """
    await response.prepare(request)
    try:
        async for part in parts:
            await _write(request, response, memoryview(part))
    except Exception as error:
        if not _is_cut(request):
            reason = None if unavailable(error) else error
            log.error("answer_broken_off", kind=type(error).__name__, exc_info=reason)
            _cut(request)
        raise ConnectionResetError("the answer was broken off") from error


async def _write(request: web.Request, response: web.StreamResponse, body: memoryview) -> None:
    for start in range(0, len(body), PIECE):
        try:
            async with asyncio.timeout(PIECE_SECONDS):
                with request.app[LIFE].waiting():
                    await response.write(body[start : start + PIECE])
        except TimeoutError:
            log.info("reader_too_slow", bytes=response.body_length)
            _cut(request)
            raise ConnectionResetError("the client does not read its answer") from None


def _is_cut(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


UNSENT = web.AppKey("unsent", Room)
