"""The request id, on the answer and in the logs: the caller's own if it is well-formed, else a random one."""

import os
import re

from aiohttp import web
from aiohttp.typedefs import Handler

from todo_service.auth.caller import REQUEST_ID
from todo_service.auth.rate_limiting import USAGE
from todo_service.observability.request_record import RECORD, RequestRecord

HEADER = "X-Request-ID"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def begin_record(request: web.BaseRequest) -> None:
    """Give the request its id, and begin the record of the current request: the first step of the outermost middleware,
    or of whatever answers in its place.
    """
    sent = request.headers.get(HEADER)
    request_id = sent if sent and _WELL_FORMED.fullmatch(sent) else os.urandom(8).hex()
    request[REQUEST_ID], request[USAGE] = request_id, None
    RECORD.set(RequestRecord(request_id))


@web.middleware
async def identify_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Begin the record of the request, where no other middleware does."""
    begin_record(request)
    return await handler(request)
