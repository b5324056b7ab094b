"""One process that serves: aiohttp's worker for gunicorn on uvloop, and what it lacks for a service that never stops.

aiohttp's has the loop, its signals and heartbeats, the sites on the parent's listener, and the look after the parent.
It sets up and cleans up the same `server.Runner` as a single process.
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

END = {signal.SIGTERM, signal.SIGINT}  # blocked from before the fork on, until the loop hears them


class Worker(GunicornUVLoopWebWorker):
    """`slot` is where its numbers go, `deaths` those of others that it is to count, `unborn` the time of its heartbeat
    before the first; a `retired` one was told to end.
    """

    slot: int
    deaths: int
    unborn: float
    retired = False
    has_served = False

    @property
    def is_ready(self) -> bool:
        return bool(self.tmp.last_update() != self.unborn)

    def init_signals(self) -> None:
        """aiohttp's, but the parent's handlers are not left standing, and two signals need no loop that still turns."""
        for number in Arbiter.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        super().init_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal says it to all; the parent replaces us
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # the parent's way to end all at once
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGQUIT})  # blocked as END is, but only until here
        signal.signal(signal.SIGABRT, signal.SIG_DFL)  # the parent ends a frozen worker with it:
        faulthandler.disable()  # what the environment may have turned on, and aiohttp has just replaced
        faulthandler.enable()  # say where it stood

    def load_wsgi(self) -> None:
        multiprocess_metrics.write_as(self.slot, self.app.folder)
        metrics = Metrics(version=__version__, source=multiprocess_metrics.MetricFiles(self.app.folder))
        self.service = build_app(self.app.settings, metrics=metrics)
        self.wsgi = self.runner
        gc.freeze()

    async def runner(self) -> Runner:
        """What aiohttp's worker asks for first in its loop, then sets up, gives the listener to, and cleans up."""
        self.loop.set_exception_handler(logs.of_loop)
        self.loop.set_debug(self.app.settings.debug)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END)  # a uvloop that does not run yet would lose them
        return Runner(self.service, beside=[(build_metrics_app(self.service), other) for other in self.app.beside])

    def notify(self) -> None:
        """Tell the parent that the loop turns; for the first time when the listener is served."""
        is_first = not self.is_ready
        super().notify()
        if is_first:
            for listener in self.sockets:
                listener.listen(BACKLOG)  # aiohttp has made it 128, for all workers
            self.service[METRICS].worker_deaths.inc(self.deaths)
            if self.age == 1:
                self.app.on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End now: aiohttp's own would only be noticed at the next heartbeat, up to a second later."""
        self.handle_quit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """End politely, with heartbeats: aiohttp's stop here, and draining may take longer than a frozen worker has."""
        if self.alive:
            self._beat()
        super().handle_quit(sig, frame)

    def _beat(self) -> None:
        self.tmp.notify()
        self.loop.call_later(1, self._beat)
