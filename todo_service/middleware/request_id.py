"""Every request has an id, on its answer and in the logs: the caller's own if it is a sane one, else a fresh one."""

import re
import secrets

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from todo_service.auth.caller import REQUEST_ID

HEADER = "X-Request-ID"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def named(request: web.BaseRequest) -> str:
    """The request's id, given to it now if it has none."""
    if REQUEST_ID not in request:
        shown = request.headers.get(HEADER, "")
        request[REQUEST_ID] = shown if _SANE.fullmatch(shown) else secrets.token_hex(8)
    return request[REQUEST_ID]


@web.middleware
async def give_request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Name the request, and every log line written meanwhile."""
    with structlog.contextvars.bound_contextvars(request_id=named(request)):
        return await handler(request)
