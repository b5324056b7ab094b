"""The HTTP server: one listener, time limits for slow clients, a graceful shutdown.

aiohttp answers broken HTTP before any application code runs, in plain text that repeats the bytes and names its
version. Here those answers are problem documents as well.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable
from http import HTTPStatus
from typing import Any

import structlog
import uvloop
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler

from todo_service import errors
from todo_service.auth.caller import REQUEST_ID
from todo_service.config.settings import SETTINGS
from todo_service.limits.load import LOAD
from todo_service.middleware.errors import problem_response, to_api_error
from todo_service.middleware.hosts import with_readable_host
from todo_service.middleware.load_limit import LoadShedder
from todo_service.middleware.request_id import begin_record
from todo_service.middleware.response_headers import RESPONSE_HEADERS
from todo_service.observability import lines, logs
from todo_service.observability.metrics import METRICS
from todo_service.observability.tallies import UNMATCHED

KEEPALIVE_SECONDS = 30  # also how long a client may take to send its headers
SHUTDOWN_SECONDS = 10  # how long a request in flight may go on after the listener is closed
LINGER_SECONDS = 1  # how long a client may take to notice that it has to go
LINGER_POLL_SECONDS = 0.02
BACKLOG = 1024
MAX_LINE, MAX_HEADER = 8 * 1024 - 2, 8 * 1024  # bytes of a request line, of one header; they tell the two errors apart

Others = Iterable[tuple[web.Application, socket.socket]]

log = structlog.get_logger()


class _Protocol(RequestHandler):
    """One connection. Overrides aiohttp's answers to requests that never reach the application."""

    __slots__ = ()

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
        return await super().finish_response(request, resp, start_time)

    def _begin(self, request: web.BaseRequest) -> None:
        if REQUEST_ID not in request:  # it has not reached the application
            begin_record(request)

    def _count(self, request: web.BaseRequest, status: int) -> None:
        assert isinstance(self._manager, _Server)
        self._manager.app[METRICS].count_answer(request.method, UNMATCHED, status)

    def _problem(self, request: web.BaseRequest, error: errors.ApiError) -> web.Response:
        response = problem_response(error, request_id=request[REQUEST_ID])
        assert isinstance(self._manager, _Server)
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


class _Server(web.Server):
    """Creates a `_Protocol` for each connection."""

    app: web.Application

    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _LimitedRunner(web.AppRunner):
    """An application ready to listen, with the limits of this service."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            shutdown_timeout=LINGER_SECONDS,  # after ours: see `_drain`
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_LINE,
            max_field_size=MAX_HEADER,
            auto_decompress=False,
        )

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server  # aiohttp has no parameter for it
        assert isinstance(server, _Server)
        server.app = self.app
        server.request_handler = LoadShedder(self.app, with_readable_host(server.request_handler))
        return server


class Runner(_LimitedRunner):
    """The service from its set-up to its graceful shutdown, in a single process and in a worker.

    Args:
        others: Applications on listeners of their own, served until the end of the shutdown.
    """

    def __init__(self, app: web.Application, *, others: Others = ()) -> None:
        super().__init__(app)
        self._others = [(_LimitedRunner(other), listener) for other, listener in others]

    async def setup(self) -> None:
        lines.attach()
        try:
            await super().setup()
            for runner, listener in self._others:
                await runner.setup()
                await web.SockSite(runner, listener, backlog=BACKLOG).start()
        except BaseException:
            lines.detach()  # the reason is logged when this loop does not run any more
            raise
        log.info("started", loop=type(asyncio.get_running_loop()).__module__.partition(".")[0])

    async def cleanup(self) -> None:
        """Shut down without breaking a request in flight, if there can be one."""
        serving = bool(self.sites)
        try:
            if serving:
                await self._drain()
            await super().cleanup()
            for runner, _ in self._others:
                await runner.cleanup()
            if serving:
                log.info("stopped")
        finally:
            lines.detach()

    async def _drain(self) -> None:
        """Readiness turns 503 at once, new connections are accepted for the settings' `drain` seconds more, then the
        listener closes, keep-alive clients are asked to go, and requests in flight get `SHUTDOWN_SECONDS`.
        """
        log.info("draining")
        self.app[LOAD].draining = True
        await asyncio.sleep(self.app[SETTINGS].drain)
        for site in self.sites:
            await site.stop()
        await self._linger()
        # aiohttp's own wait, which comes next, no longer reads bodies that are arriving
        await self.app[LOAD].until_idle(SHUTDOWN_SECONDS)

    async def _linger(self) -> None:
        """Wait until no client is left, at most `LINGER_SECONDS`. A new connection is counted one turn later."""
        for _ in range(round(LINGER_SECONDS / LINGER_POLL_SECONDS)):
            await asyncio.sleep(LINGER_POLL_SECONDS)
            if not (self.server and self.server.connections):
                return


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `OSError` if the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)  # only now no other program can take it
    except OSError:
        listener.close()
        raise
    return listener


async def serve(
    app: web.Application, listener: socket.socket, *, on_ready: Callable[[], None], others: Others = ()
) -> None:
    """Serve in this process until SIGTERM or SIGINT, then shut down gracefully; a second signal ends it at once.

    SIGHUP shuts down gracefully too, unless it was ignored at the start (`nohup`); the terminal may be gone then.
    """
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            lines.detach()
            os._exit(1)
        stopping.set()

    asyncio.get_running_loop().set_exception_handler(logs.log_loop_error)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    terminals = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def hang_up() -> None:
        for terminal in terminals:
            os.dup2(os.open(os.devnull, os.O_WRONLY), terminal)
        stopping.set()

    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)
    runner = Runner(app, others=others)
    try:
        await runner.setup()
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
        on_ready()
        await stopping.wait()
    finally:
        await runner.cleanup()


def run(serving: Coroutine[Any, Any, None], *, debug: bool) -> None:
    """Run a coroutine on uvloop; with `debug` on asyncio's own loop, which supports its debug mode best."""
    with asyncio.Runner(debug=debug, loop_factory=None if debug else uvloop.new_event_loop) as runner:
        runner.run(serving)
