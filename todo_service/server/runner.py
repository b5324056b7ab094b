"""The HTTP server: one listener, time limits for slow clients, a graceful shutdown."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import structlog
import uvloop
from aiohttp import web

from todo_service.auth import mailer, reset_requests
from todo_service.config.settings import SETTINGS
from todo_service.limits.load import LOAD
from todo_service.middleware.hosts import with_readable_host
from todo_service.middleware.load_limit import LoadShedder
from todo_service.observability import lines, logs
from todo_service.server.connections import MAX_HEADER, MAX_LINE, SCRAPES, Connections, HttpServer

KEEPALIVE_SECONDS = 30  # also how long a client may take to send its headers
SHUTDOWN_SECONDS = 10  # how long a request in flight may go on after the listener is closed
MAIL_SECONDS = mailer.CLOSE_SECONDS + reset_requests.CLOSE_SECONDS  # for the last messages to users, after that
LINGER_SECONDS = 1  # how long a client may take to notice that it has to go
LINGER_POLL_SECONDS = 0.02
BACKLOG = 1024

Others = Iterable[tuple[web.Application, socket.socket]]

log = structlog.get_logger()


class _LimitedRunner(web.AppRunner):
    """An application ready to listen, with the limits of this service."""

    most: int | None = SCRAPES  # connections at once
    _watch: asyncio.Task[None] | None = None

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
        server.__class__ = HttpServer  # aiohttp has no parameter for it
        assert isinstance(server, HttpServer)
        server.app = self.app
        server.open_connections = Connections(trusted=self.app[SETTINGS].trusted_proxies, most=self.most)
        self._watch = asyncio.create_task(server.open_connections.watch(), name="connections")
        server.request_handler = LoadShedder(self.app, with_readable_host(server.request_handler))
        return server

    async def cleanup(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await super().cleanup()


class Runner(_LimitedRunner):
    """The service from its set-up to its graceful shutdown, in a single process and in a worker.

    Args:
        others: Applications on listeners of their own, served until the end of the shutdown.
    """

    most = None

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
