"""Compression of long answers that are made for one request; small ones would only grow slower."""

import asyncio
import zlib

from aiohttp import hdrs, web
from multidict import CIMultiDict

from todo_service.wire.negotiation import takes_gzip

MIN_BYTES = 16 * 1024  # 20 tasks are half of it
MAX_BYTES_HERE = 64 * 1024  # a tenth of a millisecond; a longer body is compressed in a thread
LEVEL = 1  # a third of the default's time for a fifth more bytes
GZIP = 31  # zlib's number for gzip with the largest window


def wants_gzip(request: web.Request) -> bool:
    """Return whether the client wants a compressed answer."""
    return hdrs.ACCEPT_ENCODING in request.headers and takes_gzip(request.headers.getall(hdrs.ACCEPT_ENCODING))


async def compressed(body: bytes, headers: CIMultiDict[str], *, wanted: bool) -> bytes:
    """Return a body as it is sent, with its headers: a long one compressed, if the client wants that."""
    headers[hdrs.VARY] = f"{headers[hdrs.VARY]}, Accept-Encoding" if hdrs.VARY in headers else "Accept-Encoding"
    if not wanted or len(body) < MIN_BYTES:
        return body
    headers[hdrs.CONTENT_ENCODING] = "gzip"
    return gzip(body) if len(body) <= MAX_BYTES_HERE else await asyncio.to_thread(gzip, body)


def gzip(body: bytes) -> bytes:
    """Return the bytes compressed quickly."""
    compressor = zlib.compressobj(LEVEL, wbits=GZIP)
    return compressor.compress(body) + compressor.flush()
