"""The request id, on the answer and in the logs: the caller's own if it is well-formed, else a random one."""

import os
import re

from aiohttp import web

from todo_service.auth.caller import REQUEST_ID
from todo_service.auth.rate_limiting import USAGE
from todo_service.observability.request_record import RECORD, RequestRecord

HEADER = "X-Request-ID"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def begin_record(request: web.BaseRequest) -> RequestRecord:
    """Give the request its id, and begin the record of the current request: the server does so before anything else."""
    sent = request.headers.get(HEADER)
    request_id = sent if sent and _WELL_FORMED.fullmatch(sent) else os.urandom(8).hex()
    request[REQUEST_ID], request[USAGE] = request_id, None
    record = RequestRecord(request_id)
    RECORD.set(record)
    return record
