"""A worker process: aiohttp's worker for gunicorn on uvloop, with a graceful shutdown and metrics of its own.

aiohttp's worker has the loop, its signals and heartbeats, the sites on the parent's listener, and the watch on the
parent. It sets up and cleans up the same `runner.Runner` as a single process.
"""

import faulthandler
import gc
import signal
from types import FrameType

from aiohttp.worker import GunicornUVLoopWebWorker
from gunicorn.arbiter import Arbiter

from todo_service import __version__
from todo_service.app import build_app, build_metrics_app
from todo_service.observability import logs, multiprocess_metrics
from todo_service.observability.metrics import METRICS, Metrics
from todo_service.server.runner import BACKLOG, Runner

END_SIGNALS = {signal.SIGTERM, signal.SIGINT}  # blocked from before the fork until the loop handles them


class Worker(GunicornUVLoopWebWorker):
    """A worker.

    Attributes:
        slot: The slot of its metric files.
        deaths: Deaths of other workers that it has to count.
        first_beat: The time of its heartbeat file before its first heartbeat.
        retired: Whether the parent has asked it to end.
        has_served: Whether it had served when it ended.
    """

    slot: int
    deaths: int
    first_beat: float
    retired = False
    has_served = False

    @property
    def is_ready(self) -> bool:
        return bool(self.tmp.last_update() != self.first_beat)

    def init_signals(self) -> None:
        """Set aiohttp's signal handlers, without the parent's, and three that work while the loop is blocked."""
        for number in Arbiter.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        super().init_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal sends it to all processes; the parent replaces us
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # the parent's way to end all at once
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGQUIT})  # blocked like END_SIGNALS, but only until here
        signal.signal(signal.SIGABRT, signal.SIG_DFL)  # the parent ends a frozen worker with it:
        faulthandler.disable()  # the environment may have enabled it, and aiohttp has just replaced its handler
        faulthandler.enable()  # print the stack

    def load_wsgi(self) -> None:
        multiprocess_metrics.write_as(self.slot, self.app.folder)
        metrics = Metrics(version=__version__, source=multiprocess_metrics.MetricFiles(self.app.folder))
        self.service = build_app(self.app.settings, metrics=metrics)
        self.wsgi = self.runner
        gc.freeze()

    async def runner(self) -> Runner:
        """Return the runner that aiohttp's worker sets up, gives the listener to, and cleans up."""
        self.loop.set_exception_handler(logs.log_loop_error)
        self.loop.set_debug(self.app.settings.debug)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)  # a uvloop that does not run yet would lose them
        metrics_app = build_metrics_app(self.service)
        return Runner(self.service, others=[(metrics_app, other) for other in self.app.metrics_listeners])

    def notify(self) -> None:
        """Send a heartbeat to the parent; the first one when the listener is served."""
        is_first = not self.is_ready
        super().notify()
        if is_first:
            for listener in self.sockets:
                listener.listen(BACKLOG)  # aiohttp has set it to 128, for all workers
            self.service[METRICS].worker_deaths.inc(self.deaths)
            if self.age == 1:
                self.app.on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End now: aiohttp's own handler is only noticed at the next heartbeat, up to a second later."""
        self.handle_quit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """End gracefully, with heartbeats: aiohttp's stop here, and draining may outlast the timeout."""
        if self.alive:
            self._beat()
        super().handle_quit(sig, frame)

    def _beat(self) -> None:
        self.tmp.notify()
        self.loop.call_later(1, self._beat)
