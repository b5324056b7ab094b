"""Every request has an id, on its answer and in the logs: the caller's own if it is a sane one, else a fresh one."""

import itertools
import re
import secrets

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

HEADER = "X-Request-ID"
REQUEST_ID = web.RequestKey("request_id", str)
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_PROCESS = secrets.token_hex(6)
_numbers = itertools.count(1)


def new_request_id() -> str:
    """An id no other request of any process has: a random part for the process and a number."""
    return f"{_PROCESS}-{next(_numbers)}"


@web.middleware
async def give_request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Name the request."""
    shown = request.headers.get(HEADER, "")
    request[REQUEST_ID] = shown if _SANE.fullmatch(shown) else new_request_id()
    with structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID]):
        return await handler(request)
