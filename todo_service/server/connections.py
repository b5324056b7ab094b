"""The connections of the HTTP server: each of them, how many there may be, and the end of those that are not read.

aiohttp answers broken HTTP before any application code runs, in plain text that repeats the bytes and names its
version. Here those answers are problem documents as well. A client that stops reading would keep its connection, and
the unsent part of its answer, for ever: aiohttp's own time limits are for clients that do not send. The number of
connections is bounded below the limit of open files, at which the kernel would refuse every client without a word.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler

from todo_service import errors
from todo_service.auth.caller import REQUEST_ID
from todo_service.config.trusted_proxies import Network, counted_network, is_trusted_peer
from todo_service.middleware.errors import problem_response, to_api_error
from todo_service.middleware.request_id import begin_record
from todo_service.middleware.response_headers import RESPONSE_HEADERS
from todo_service.observability.metrics import METRICS
from todo_service.observability.tallies import UNMATCHED
from todo_service.routes.change_watch import CHANGE_WATCH
from todo_service.routes.request_bodies import BODY

MAX_FRAMING = 8  # bytes that may arrive for a byte of a body: a chunk of one byte takes six
READ_AHEAD = 64 * 1024  # bytes that may arrive before
MAX_LINE, MAX_HEADER = 8 * 1024 - 2, 8 * 1024  # bytes of a request line, of one header; they tell the two errors apart
RESERVED_FILES = 192  # for all that is no client of the API: the pool, logs, modules, scrapes
SCRAPES = 64  # connections to a port for metrics alone
UNLIMITED_FILES = 65_536  # where there is no limit of open files
SWEEP_SECONDS = 2.0
UNREAD_SECONDS = 30  # how long a client may read nothing of what waits for it
STEP = 16 * 1024  # bytes that count as reading
LOG_PAUSE_SECONDS = 60.0

log = structlog.get_logger()


def raise_file_limit() -> int:
    """Raise the process's limit of open files as far as it may be, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, UNLIMITED_FILES)
    with suppress(ValueError, OSError):  # the kernel may have a limit of its own below
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return _open_files()


def _open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else UNLIMITED_FILES


@dataclass(slots=True)
class _Open:
    """A connection, its unsent bytes at the last look, and the moment until which some of them must be read."""

    transport: asyncio.Transport
    address: str
    unsent: int = 0
    due: float = 0.0


class Connections:
    """The connections of one process.

    Args:
        trusted: The networks of proxies, which hold the connections of many clients.
        most: Connections at once; None for as many as the limit of open files leaves.
    """

    def __init__(self, *, trusted: Collection[Network] = (), most: int | None = None) -> None:
        self._most = most or max(1, _open_files() - RESERVED_FILES)
        self._most_of_one = max(1, self._most // 4)
        self._trusted = trusted
        self._open: dict[asyncio.Protocol, _Open] = {}
        self._of_address: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._logged_until = 0.0

    def add(self, protocol: asyncio.Protocol, transport: asyncio.Transport) -> None:
        """Count a new connection, or close it if it is one too many."""
        peer = transport.get_extra_info("peername") or ("",)
        address: str = peer[0] if ":" not in peer[0] else counted_network(peer[0])
        if len(self._open) >= self._most:
            self._refuse(transport, "any")
        elif self._of_address[address] >= self._most_of_one and not is_trusted_peer(peer[0], self._trusted):
            self._refuse(transport, address)
        else:
            self._open[protocol] = _Open(transport, address)
            self._of_address[address] += 1

    def remove(self, protocol: asyncio.Protocol) -> None:
        """Forget a connection that is closed."""
        connection = self._open.pop(protocol, None)
        if connection is not None:
            self._of_address[connection.address] -= 1
            if not self._of_address[connection.address]:
                del self._of_address[connection.address]

    def note_progress(self, protocol: asyncio.Protocol) -> None:
        """Note that a client has read: its connection can take more."""
        if (connection := self._open.get(protocol)) is not None:
            connection.unsent = 0

    async def watch(self) -> None:
        """Cut connections of clients that do not read, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep(loop.time())

    def sweep(self, now: float) -> None:
        """Cut each connection whose client has read nothing for `UNREAD_SECONDS`, also one that is being closed."""
        cut = 0
        for connection in list(self._open.values()):
            size = connection.transport.get_write_buffer_size()
            if not size:
                connection.unsent = 0
            elif not connection.unsent or connection.unsent - size >= STEP:
                connection.unsent, connection.due = size, now + UNREAD_SECONDS
            elif now >= connection.due:
                connection.transport.abort()
                cut += 1
        if cut:
            log.info("readers_too_slow", connections=cut)

    def _refuse(self, transport: asyncio.Transport, address: str) -> None:
        transport.abort()
        self._refused[address] += 1
        now = asyncio.get_running_loop().time()
        if now >= self._logged_until:
            self._logged_until = now + LOG_PAUSE_SECONDS
            [(most_refused, _)] = self._refused.most_common(1)
            log.warning(
                "connections_refused",
                refused=self._refused.total(), open=len(self._open), most=self._most, address=most_refused,
            )  # fmt: skip
            self._refused.clear()


class _Protocol(RequestHandler):
    """One connection. Overrides aiohttp's answers to requests that never reach the application."""

    __slots__ = ("arrived",)  # bytes of the present body with its framing

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        request = self._current_request
        if request is None or request.content.is_eof():
            self.arrived = 0
            return
        self.arrived += len(data)
        if self.arrived > MAX_FRAMING * request.content.total_bytes + READ_AHEAD:
            request.content.set_exception(web.RequestPayloadError("more framing than content"))
            self.close()

    def resume_writing(self) -> None:
        super().resume_writing()
        if isinstance(self._manager, HttpServer):
            self._manager.open_connections.note_progress(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("the client has gone, or a part of an answer is sent already")
        self._begin(request)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            error: errors.ApiError = _refusal(exc)
            log.info("bad_request", status=error.status)
            self._count(request, error.status)
        else:
            error = to_api_error(exc if isinstance(exc, Exception) else RuntimeError("a request without an answer"))
        response = self._problem(request, error)
        response.force_close()
        return response

    async def finish_response(self, request: web.BaseRequest, resp: Any, start_time: float | None) -> Any:
        if isinstance(resp, web.HTTPException):
            self._begin(request)
            resp = self._problem(request, to_api_error(resp))
            self._count(request, resp.status)
        finished = await super().finish_response(request, resp, start_time)
        if request.method != hdrs.METH_GET:
            request.pop(BODY, None)  # aiohttp keeps the request until the next one on this connection, which may idle
        return finished

    def _begin(self, request: web.BaseRequest) -> None:
        if REQUEST_ID not in request:  # it has not reached the application
            begin_record(request)

    def _count(self, request: web.BaseRequest, status: int) -> None:
        assert isinstance(self._manager, HttpServer)
        self._manager.app[METRICS].count_answer(request.method, UNMATCHED, status)

    def _problem(self, request: web.BaseRequest, error: errors.ApiError) -> web.Response:
        response = problem_response(error, request_id=request[REQUEST_ID])
        assert isinstance(self._manager, HttpServer)
        self._manager.app[RESPONSE_HEADERS].complete(response.headers, request[REQUEST_ID])
        return response


def _refusal(error: BaseException | None) -> errors.ApiError:
    """Return the refusal of a request that the HTTP parser did not take."""
    match error:
        case LineTooLong(args=(_, limit, *_)):
            return errors.UriTooLong() if str(limit) == str(MAX_LINE) else errors.HeadersTooLarge()
        case BadHttpMessage(message=str(text)) if "Too many headers" in text:
            return errors.HeadersTooLarge()
        case _:
            return errors.BadRequest()


class HttpServer(web.Server):
    """Creates a `_Protocol` for each connection, and counts it."""

    app: web.Application
    open_connections: Connections

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        handler.arrived = 0  # type: ignore[attr-defined]
        self.open_connections.add(handler, transport)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.open_connections.remove(handler)
        if (watch := self.app.get(CHANGE_WATCH)) is not None and watch.waiting:
            watch.leave(handler)

    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)
