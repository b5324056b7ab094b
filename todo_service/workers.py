"""Several processes behind one listener. gunicorn's arbiter starts, watches and replaces them; it serves nothing.

Each worker runs `server.serve` on the listener that the parent has opened, so no connection is lost with a worker that
ends. gunicorn's own configuration, logs, HTTP and control socket are not used.
"""

import asyncio
import faulthandler
import gc
import itertools
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from typing import Any

import structlog
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from todo_service import __version__, metric_files, server
from todo_service.app import build_app, build_metrics_app
from todo_service.connect import CLOSE_SECONDS
from todo_service.metrics import Metrics
from todo_service.settings import Settings
from todo_service.wire.new_passwords import common_passwords

FROZEN_SECONDS = 30  # a worker whose event loop stands still for longer is killed
START_SECONDS = 15  # how long a rolling restart waits for the new workers
DEATHS, DEATH_SECONDS = 5, 5  # so many deaths in so many seconds, and the next worker has to wait a second
END = {signal.SIGTERM, signal.SIGINT}

log = structlog.get_logger()


def run(settings: Settings, listeners: Sequence[socket.socket], *, on_ready: Callable[[], None]) -> int:
    """Serve with `settings.web_concurrency` workers until SIGTERM or SIGINT; a second one ends them at once. SIGHUP
    replaces every worker by a fresh one. The second of the `listeners` is for the metrics.

    Returns 0 after a polite end, 1 if it or a worker could not start; the log says why.
    """
    if settings.rate_limit_enabled and settings.redis_url is None:
        log.warning("limits_are_per_worker", workers=settings.web_concurrency, remedy="set REDIS_URL")
    common_passwords()
    gc.freeze()  # shared with the workers: a collection would copy every page it looks at
    with ExitStack() as opened:
        try:
            folder = opened.enter_context(metric_files.folder())
        except OSError as error:
            log.error("no_place_for_metrics", reason=error.strerror, remedy="make /dev/shm or /tmp writable")
            return 1
        parent = _Parent(_Service(settings, listeners, folder, on_ready))
        parent.LISTENERS = list(listeners)
        try:
            parent.run()
        except SystemExit as ended:
            return 1 if ended.code else 0
    raise AssertionError("the parent ends by an exit")


class _Log:
    """gunicorn's words in our log."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    def __getattr__(self, level: str) -> Callable[..., None]:
        if level in {"critical", "exception"}:
            level = "error"
        if level not in {"debug", "info", "warning", "error"}:
            return lambda *_: None  # of files, which there are none of

        def write(words: str, *values: object, exc_info: object = None, **_: object) -> None:
            getattr(log, level)("workers", detail=words % values if values else words, exc_info=exc_info)

        return write


class _Service(BaseApplication):  # type: ignore[misc]
    """What gunicorn is told, and what the workers need."""

    def __init__(
        self, settings: Settings, listeners: Sequence[socket.socket], folder: Path, on_ready: Callable[[], None]
    ) -> None:
        self.settings = settings
        self.listeners = listeners
        self.folder = folder
        self.on_ready = on_ready
        super().__init__()

    def load_config(self) -> None:
        patience = self.settings.drain + server.LINGER_SECONDS + server.SHUTDOWN_SECONDS + CLOSE_SECONDS
        given = {
            "workers": self.settings.web_concurrency,
            "worker_class": _Worker,
            "worker_tmp_dir": str(self.folder),
            "logger_class": _Log,
            "timeout": FROZEN_SECONDS,
            "graceful_timeout": ceil(patience),
            "control_socket_disable": True,
            "pre_fork": _give_slot,
            "child_exit": _bury,
        }
        for name, value in given.items():
            self.cfg.set(name, value)


class _Worker(Worker):  # type: ignore[misc]
    """One process that serves. `slot` is where its numbers go, `unborn` the time of its heartbeat before the first;
    one that `follows_a_death` stands in for one that nobody told to end, a `retired` one was told.
    """

    slot: int
    unborn: float
    follows_a_death = False
    retired = False

    @property
    def is_ready(self) -> bool:
        return bool(self.tmp.last_update() != self.unborn)

    def init_signals(self) -> None:
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is said to all of a terminal; the parent tells us
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # until the loop takes it
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        faulthandler.enable()  # the parent ends a frozen worker with SIGABRT: say where it stood
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END)

    def load_wsgi(self) -> None:
        metric_files.write_as(self.slot, self.app.folder)
        source = metric_files.MetricFiles(self.app.folder)
        metrics = Metrics(version=__version__, source=source)
        metrics.worker_deaths.inc(self.follows_a_death)
        self.wsgi = build_app(self.app.settings, metrics=metrics)
        gc.freeze()

    def run(self) -> None:
        server.run(self._serve(), debug=self.app.settings.debug)

    async def _serve(self) -> None:
        listener, *others = self.app.listeners
        beside = [(build_metrics_app(self.wsgi), other) for other in others]
        beating: list[asyncio.Task[None]] = []

        def on_ready() -> None:
            beating.append(asyncio.create_task(self._beat(), name="heartbeat"))
            if self.age == 1:
                self.app.on_ready()

        await server.serve(self.wsgi, listener, on_ready=on_ready, beside=beside, hasty=False)
        for task in beating:
            task.cancel()

    async def _beat(self) -> None:
        """Tell the parent that the loop turns, and end when it is gone."""
        while True:
            self.notify()
            if os.getppid() != self.ppid:
                os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(1)


class _Parent(Arbiter):  # type: ignore[misc]
    """The process that has the listener and the workers."""

    def __init__(self, service: _Service) -> None:
        super().__init__(service)
        self.deaths: deque[float] = deque(maxlen=DEATHS)
        self.untold = 0  # deaths that no new worker has counted yet: the parent has no numbers of its own
        self.ending = False

    def signal(self, sig: int, frame: Any) -> None:
        if self.ending and sig in END:
            self.kill_workers(signal.SIGKILL)
        super().signal(sig, frame)

    def stop(self, graceful: bool = True) -> None:
        self.ending = True
        super().stop(graceful)

    def handle_int(self) -> None:
        self.handle_term()

    def handle_usr1(self) -> None:
        """No log files are open."""

    def handle_usr2(self) -> None:
        log.warning("workers", detail="SIGUSR2 is not supported: start the new release beside this one, or send SIGHUP")

    def kill_worker(self, pid: int, sig: int) -> None:
        if pid in self.WORKERS:
            self.WORKERS[pid].retired = True
        super().kill_worker(pid, sig)

    def spawn_worker(self) -> int:
        if len(self.deaths) == DEATHS and time.monotonic() - self.deaths[0] < DEATH_SECONDS:
            log.error("workers_keep_dying", deaths=DEATHS, seconds=DEATH_SECONDS)
            time.sleep(1)
        signal.pthread_sigmask(signal.SIG_BLOCK, END)  # a worker must hear what is said before it listens
        try:
            pid: int = super().spawn_worker()
        except BaseException as ended:
            if os.getpid() == self.pid:
                raise
            sys.stdout.flush()  # a worker's end: what the parent has opened is not ours to close
            os._exit(ended.code if isinstance(ended, SystemExit) and isinstance(ended.code, int) else 1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END)
        return pid

    def reload(self) -> None:
        """Replace the workers: the old ones are told to end when the new ones serve."""
        old = set(self.WORKERS)
        new = {self.spawn_worker() for _ in range(self.num_workers)}
        deadline = time.monotonic() + START_SECONDS
        while not all(self.WORKERS[pid].is_ready for pid in new & set(self.WORKERS)):
            if time.monotonic() > deadline:
                log.error("workers", detail="the new workers are not ready in time")
                break
            time.sleep(0.05)
            self.reap_workers()
        for pid in old & set(self.WORKERS):
            self.kill_worker(pid, signal.SIGTERM)


def _give_slot(parent: _Parent, worker: _Worker) -> None:
    """The lowest slot that no living worker has."""
    taken = {sibling.slot for sibling in parent.WORKERS.values()}
    worker.slot = next(slot for slot in itertools.count() if slot not in taken)
    worker.unborn = worker.tmp.last_update()
    worker.follows_a_death = parent.untold > 0
    parent.untold -= worker.follows_a_death


def _bury(parent: _Parent, worker: _Worker) -> None:
    if not worker.retired:
        parent.deaths.append(time.monotonic())
        parent.untold += 1
    metric_files.forget(worker.slot, parent.app.folder)
