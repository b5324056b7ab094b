"""The load limit: counts the requests in flight, and refuses one more while the process is full.

A refusal must cost next to nothing, or overload feeds itself. `LoadShedder` answers most of them before the application
looks at the request, with bytes prepared at the start; `limit_load` refuses the rest, such as requests of pages of
other origins, which need CORS headers. Neither writes to the log.
"""

from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler

from todo_service.auth.caller import REQUEST_ID
from todo_service.errors import Overloaded
from todo_service.limits.load import LOAD, MAX_VITAL, Load
from todo_service.middleware.errors import problem_response
from todo_service.middleware.request_id import begin_record
from todo_service.middleware.response_headers import RESPONSE_HEADERS
from todo_service.observability.metrics import METRICS
from todo_service.observability.tallies import SHED
from todo_service.routes.table import LIVENESS, Route, matched_row, template

BaseHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_ID = "the-id-of-the-request"


@web.middleware
async def limit_load(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Begin the record of the request; count it while it is handled, or refuse it. Vital routes are counted apart."""
    begin_record(request)
    load = request.app[LOAD]
    row = matched_row(request)
    if row is not None and row.vital:
        return await _answer_vital(request, handler, load, row)
    if load.in_flight - load.waiting >= load.max_sustained and load.is_full():
        return _refuse(request, load)
    load.in_flight += 1
    try:
        return await handler(request)
    finally:
        load.in_flight -= 1


async def _answer_vital(request: web.Request, handler: Handler, load: Load, row: Route) -> web.StreamResponse:
    if load.vital >= MAX_VITAL and row.path != LIVENESS:
        return _refuse(request, load)
    load.vital += 1
    try:
        return await handler(request)
    finally:
        load.vital -= 1


def _refuse(request: web.Request, load: Load) -> web.Response:
    load.refused += 1
    metrics = request.app[METRICS]
    metrics.shed.inc()
    metrics.count_answer(request.method, template(request), Overloaded.status, 0.0)
    return problem_response(Overloaded(), request_id=request[REQUEST_ID])


class LoadShedder:
    """Calls the application's `handler`, or refuses the request while the application is full."""

    def __init__(self, app: web.Application, handler: BaseHandler) -> None:
        self._load = app[LOAD]
        self._metrics = app[METRICS]
        self._handler = handler
        refusal = problem_response(Overloaded(), request_id=_ID)
        app[RESPONSE_HEADERS].complete(refusal.headers, _ID)
        assert isinstance(refusal.body, bytes)
        self._body = refusal.body.split(_ID.encode())
        lines = [f"HTTP/1.1 {refusal.status} {refusal.reason}"]
        lines += [f"{name}: {value}" for name, value in refusal.headers.items()]
        self._head = "\r\n".join([*lines, f"{hdrs.CONTENT_LENGTH}: "]).encode().split(_ID.encode())

    def __call__(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        """Return the answer of the application, or the refusal."""
        load = self._load
        if load.in_flight - load.waiting < load.max_sustained:
            return self._handler(request)
        if load.draining or not load.is_full() or not _is_plain(request):
            return self._handler(request)
        return self._refuse(request)

    async def _refuse(self, request: web.BaseRequest) -> web.StreamResponse:
        begin_record(request)
        self._load.refused += 1
        self._metrics.shed.inc()
        self._metrics.count_answer(request.method, SHED, Overloaded.status)
        return _PreparedResponse(self._refusal(request[REQUEST_ID].encode()))

    def _refusal(self, request_id: bytes) -> bytes:
        body = request_id.join(self._body)
        return b"%b%d\r\n\r\n%b" % (request_id.join(self._head), len(body), body)


class _PreparedResponse(web.StreamResponse):
    """A response with head and body in one piece of bytes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(status=Overloaded.status)
        self._content = content

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        await request.writer.write(self._content)
        await request.writer.drain()  # a client that does not read its answers gets no further request handled

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the response is complete."""


def _is_plain(request: web.BaseRequest) -> bool:
    """Return whether the prepared refusal is right for this request."""
    return (
        request.raw_path.startswith("/api/")
        and hdrs.ORIGIN not in request.headers
        and request.method != hdrs.METH_HEAD
        and request.version == HttpVersion11
        and request.keep_alive
    )
