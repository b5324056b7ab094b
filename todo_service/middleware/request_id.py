"""The request id, on the answer and in the logs: the caller's own if it is well-formed, else a random one."""

import re
import secrets

from aiohttp import web
from aiohttp.typedefs import Handler

from todo_service.auth.caller import REQUEST_ID
from todo_service.observability.logs import BOUND_ID

HEADER = "X-Request-ID"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@web.middleware
async def bind_request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Add the id of the request to every log line meanwhile."""
    BOUND_ID.set(request_id(request))  # each request has a context of its own
    return await handler(request)


def request_id(request: web.BaseRequest) -> str:
    """Return the id of the request, assigning it on the first call."""
    if REQUEST_ID not in request:
        sent = request.headers.get(HEADER)
        request[REQUEST_ID] = sent if sent and _WELL_FORMED.fullmatch(sent) else secrets.token_hex(8)
    return request[REQUEST_ID]
