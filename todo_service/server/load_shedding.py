"""Load shedding: while a process has as much to do as it can, one request more is refused before anything looks at it.

A refusal must cost next to nothing, or overload feeds itself. What all of them say is kept ready as bytes; only the
request's id is put in. Who has to be told more, such as a page of another origin, is refused by the application, in
`middleware/in_flight.py`.
"""

from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion11, hdrs, web

from todo_service.config.settings import SETTINGS
from todo_service.errors import Overloaded
from todo_service.limits.load import LIFE
from todo_service.middleware.errors import problem
from todo_service.middleware.request_id import named
from todo_service.middleware.response_headers import complete
from todo_service.observability.metrics import METRICS, SHED

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_ID = "the-id-of-the-request"


class Shedding:
    """Has an application's requests handled by its `handler`, as long as it is not full."""

    def __init__(self, app: web.Application, handler: Handler) -> None:
        self._life = app[LIFE]
        self._metrics = app[METRICS]
        self._handler = handler
        refusal = problem(Overloaded(), request_id=_ID)
        complete(refusal.headers, app[SETTINGS], _ID)
        assert isinstance(refusal.body, bytes)
        self._body = refusal.body.split(_ID.encode())
        lines = [f"HTTP/1.1 {refusal.status} {refusal.reason}"]
        lines += [f"{name}: {value}" for name, value in refusal.headers.items()]
        self._head = "\r\n".join([*lines, f"{hdrs.CONTENT_LENGTH}: "]).encode().split(_ID.encode())

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer it, by a refusal if need be."""
        if not self._life.is_full or self._life.draining or not _is_plain(request):
            return await self._handler(request)
        self._life.refused += 1
        self._metrics.shed.inc()
        self._metrics.answered(request.method, SHED, Overloaded.status)
        return _Kept(self._refusal(named(request).encode()))

    def _refusal(self, request_id: bytes) -> bytes:
        body = request_id.join(self._body)
        return b"%b%d\r\n\r\n%b" % (request_id.join(self._head), len(body), body)


class _Kept(web.StreamResponse):
    """A whole answer, head and body, as it goes out."""

    def __init__(self, whole: bytes) -> None:
        super().__init__(status=Overloaded.status)
        self._whole = whole

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        await request.writer.write(self._whole)
        await request.writer.drain()  # who does not read answers is not asked for more requests

    async def write_eof(self, data: bytes = b"") -> None:
        """There is no more."""


def _is_plain(request: web.BaseRequest) -> bool:
    """Whether the answer of all is right for this request too."""
    return (
        request.raw_path.startswith("/api/")
        and hdrs.ORIGIN not in request.headers
        and request.method != hdrs.METH_HEAD
        and request.version == HttpVersion11
        and request.keep_alive
    )
