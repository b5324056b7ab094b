"""Request bodies: size, media type and pace are checked before anything is parsed."""

import asyncio
from collections.abc import Collection

from aiohttp import HttpVersion11, hdrs, web

from todo_service.errors import BadRequest, BodyTimeout, BodyTooLarge, UnsupportedMediaType
from todo_service.limits.load import LOAD

MAX_BODY = 64 * 1024  # bytes
MEBIBYTE = 2**20
BODY_SECONDS = 10  # for each mebibyte that is begun
LARGE_BODY = 1024 * 1024  # bytes, for a batch
JSON = "application/json"
BODY = web.RequestKey("body", bytes)
MERGE_PATCH = "application/merge-patch+json"  # RFC 7396


async def read(request: web.Request, *, max_size: int = MAX_BODY, accepted: Collection[str] = ()) -> bytes:
    """Return the body, b"" if there is none, and keep it in the request as `BODY`.

    Args:
        max_size: Bytes.
        accepted: The accepted media types; by default JSON.

    Raises:
        BodyTooLarge: By `Content-Length`, before a byte is read, or while reading.
        UnsupportedMediaType: The media type is not accepted, or the body is encoded.
        BodyTimeout: The body did not arrive within `BODY_SECONDS` for each mebibyte.
    """
    length = request.content_length
    if (length or 0) > max_size:
        raise BodyTooLarge(max_size)
    request[BODY] = b""
    if not request.can_read_body:
        return b""
    if length is not None or hdrs.CONTENT_TYPE in request.headers:
        _check_media(request, accepted)
    if request.content.is_eof() and request.content.exception() is None:  # it has arrived together with its head
        raw = request.content.read_nowait()
        if len(raw) > max_size:
            raise BodyTooLarge(max_size)
    else:
        raw = await _receive(request, max_size)
    if raw and length is None:  # a chunked body without a type may turn out to be empty
        _check_media(request, accepted)
    request[BODY] = raw
    return raw


def _check_media(request: web.Request, accepted: Collection[str]) -> None:
    headers = request.headers
    plain = hdrs.TRANSFER_ENCODING not in headers and hdrs.CONTENT_ENCODING not in headers
    if plain and not accepted and headers.get(hdrs.CONTENT_TYPE) == JSON:  # as nearly all bodies
        return
    if not accepted:
        accepted = {JSON, MERGE_PATCH} if request.method == hdrs.METH_PATCH else {JSON}
    charset = (request.charset or "utf-8").lower()
    transfer = request.headers.get(hdrs.TRANSFER_ENCODING, "chunked").lower()
    encoded = hdrs.CONTENT_ENCODING in request.headers or transfer != "chunked"
    if request.content_type not in accepted or charset not in {"utf-8", "utf8"} or encoded:
        raise UnsupportedMediaType(accepted)


async def _answer_expectation(request: web.Request) -> None:
    """Invite the body of a client that waits for it (RFC 9110 section 10.1.1), now that the caller is authenticated."""
    if hdrs.EXPECT in request.headers and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


async def _receive(request: web.Request, max_size: int) -> bytes:
    received = bytearray()
    try:
        await _answer_expectation(request)
        async with asyncio.timeout(BODY_SECONDS) as deadline:
            began = asyncio.get_running_loop().time()
            with request.app[LOAD].wait():
                async for chunk in request.content.iter_any():
                    received += chunk
                    if len(received) > max_size:
                        raise BodyTooLarge(max_size)
                    if len(received) >= MEBIBYTE:
                        deadline.reschedule(began + BODY_SECONDS * (1 + len(received) // MEBIBYTE))
    except TimeoutError:
        raise BodyTimeout from None
    except web.RequestPayloadError:
        raise BadRequest("The framing of the body does not match its headers. Check `Transfer-Encoding`.") from None
    return bytes(received)
