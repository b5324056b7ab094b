"""Serving an application over HTTP: one listener, time limits for slow clients, a polite end.

aiohttp answers broken HTTP before any application code runs, in plain text that repeats the bytes and names its
version. Here they are problem documents as well.
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
from aiohttp.web_protocol import RequestHandler

from todo_service import errors
from todo_service.config.settings import SETTINGS, Settings
from todo_service.limits.load import LIFE
from todo_service.middleware.errors import meaning, problem
from todo_service.middleware.request_id import named
from todo_service.middleware.response_headers import complete
from todo_service.observability import logs
from todo_service.observability.metrics import METRICS, UNMATCHED, Metrics
from todo_service.server.load_shedding import Shedding

KEEPALIVE_SECONDS = 30  # also how long a client may take to send its headers
SHUTDOWN_SECONDS = 10  # how long a request in flight may go on after the listener is closed
LINGER_SECONDS = 1  # how long a client that is to go away may take to notice
LOOK_SECONDS = 0.02  # how often we look whether any is left
BACKLOG = 1024
MAX_HEADER = 8 * 1024 - 2  # bytes of a request line or of one header

log = structlog.get_logger()


class _Protocol(RequestHandler):
    """One connection. Overrides what aiohttp answers where the application is never asked."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("there is nobody left to answer, or no room for another answer")
        with structlog.contextvars.bound_contextvars(request_id=named(request)):
            if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                log.info("bad_request", status=status)
                self._count(request, HTTPStatus.BAD_REQUEST)
                error: errors.ApiError = errors.BadRequest()
            else:
                error = meaning(exc if isinstance(exc, Exception) else RuntimeError("a request without an answer"))
        response = self._problem(request, error)
        response.force_close()
        return response

    async def finish_response(self, request: web.BaseRequest, resp: Any, start_time: float | None) -> Any:
        if isinstance(resp, web.HTTPException):
            resp = self._problem(request, meaning(resp))
            self._count(request, resp.status)
        return await super().finish_response(request, resp, start_time)

    def _count(self, request: web.BaseRequest, status: int) -> None:
        assert isinstance(self._manager, _Server)
        self._manager.metrics.answered(request.method, UNMATCHED, status)

    def _problem(self, request: web.BaseRequest, error: errors.ApiError) -> web.Response:
        response = problem(error, request_id=named(request))
        assert isinstance(self._manager, _Server)
        complete(response.headers, self._manager.settings, named(request))
        return response


class _Server(web.Server):
    """Makes a protocol of ours for each connection."""

    settings: Settings
    metrics: Metrics

    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Limited(web.AppRunner):
    """An application ready to listen, with the limits of this service."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            shutdown_timeout=LINGER_SECONDS,  # after ours: see `_drain`
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            auto_decompress=False,
        )

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server  # aiohttp has no parameter for it
        assert isinstance(server, _Server)
        server.settings = self.app[SETTINGS]
        server.metrics = self.app[METRICS]
        server.request_handler = Shedding(self.app, server.request_handler)
        return server


class Runner(_Limited):
    """The service from its set-up to its polite end, in a single process and in a worker. What it serves `beside`, on
    other listeners, is served all the time.
    """

    def __init__(self, app: web.Application, *, beside: Iterable[tuple[web.Application, socket.socket]] = ()) -> None:
        super().__init__(app)
        self._beside = [(_Limited(other), listener) for other, listener in beside]

    async def setup(self) -> None:
        await super().setup()
        for runner, listener in self._beside:
            await runner.setup()
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
        log.info("started", loop=type(asyncio.get_running_loop()).__module__.partition(".")[0])

    async def cleanup(self) -> None:
        """End without breaking a request that was begun, if any could be."""
        serving = bool(self.sites)
        if serving:
            await self._drain()
        await super().cleanup()
        for runner, _ in self._beside:
            await runner.cleanup()
        if serving:
            log.info("stopped")

    async def _drain(self) -> None:
        """Readiness turns 503 at once, new connections are taken for the settings' `drain` seconds more, then the
        listener closes, keep-alive clients are told so, requests in flight get `SHUTDOWN_SECONDS`.
        """
        log.info("draining")
        self.app[LIFE].draining = True
        await asyncio.sleep(self.app[SETTINGS].drain)
        for site in self.sites:
            await site.stop()
        await self._linger()
        # aiohttp's own wait, which comes next, no longer reads bodies that are arriving
        await self.app[LIFE].until_idle(SHUTDOWN_SECONDS)

    async def _linger(self) -> None:
        """Wait until no client is left, `LINGER_SECONDS` at most. Who was accepted just now is only counted at the next
        turn.
        """
        for _ in range(round(LINGER_SECONDS / LOOK_SECONDS)):
            await asyncio.sleep(LOOK_SECONDS)
            if not (self.server and self.server.connections):
                return


def bind(host: str, port: int) -> socket.socket:
    """A listening address, taken at once. Raises `OSError` if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)  # only now nobody else can have it
    except OSError:
        listener.close()
        raise
    return listener


async def serve(
    app: web.Application,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    beside: Iterable[tuple[web.Application, socket.socket]] = (),
) -> None:
    """Serve in this process until SIGTERM or SIGINT, then end politely; a second one ends it at once. SIGHUP ends it
    politely too, unless it was ignored at the start (`nohup`); a terminal may be gone then.
    """
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    asyncio.get_running_loop().set_exception_handler(logs.of_loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    terminals = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def hang_up() -> None:
        for terminal in terminals:
            os.dup2(os.open(os.devnull, os.O_WRONLY), terminal)
        stopping.set()

    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)
    runner = Runner(app, beside=beside)
    try:
        await runner.setup()
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
        on_ready()
        await stopping.wait()
    finally:
        await runner.cleanup()


def run(serving: Coroutine[Any, Any, None], *, debug: bool) -> None:
    """Run to its end, on uvloop; asyncio's debug mode knows its own loop best."""
    with asyncio.Runner(debug=debug, loop_factory=None if debug else uvloop.new_event_loop) as runner:
        runner.run(serving)
