"""The parent process: gunicorn's arbiter, which owns the listener and starts, watches and replaces the workers.

It serves nothing itself. Because the listener is the parent's, no connection is lost with a worker that ends.
"""

import gc
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from typing import Any

import structlog
from gunicorn.app.base import Application
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from todo_service.config.settings import Settings
from todo_service.observability import multiprocess_metrics, sentry
from todo_service.postgres.connector import CLOSE_SECONDS
from todo_service.server import runner
from todo_service.server.worker import END_SIGNALS
from todo_service.wire.new_passwords import common_passwords

CONFIGURATION = "python:todo_service.server.gunicorn_conf"
DEATHS, DEATH_SECONDS = 5, 5  # after so many deaths in so many seconds the next worker has to wait a second

log = structlog.get_logger()


def run(settings: Settings, listeners: Sequence[socket.socket], *, on_ready: Callable[[], None]) -> int:
    """Serve with `settings.web_concurrency` workers until SIGTERM or SIGINT; a second one ends them at once.

    SIGHUP replaces every worker by a fresh one.

    Args:
        listeners: That of the API, and a second one for the metrics if they have a port of their own.

    Returns:
        0 after a graceful shutdown, 1 if it or a worker could not start; the log has the reason.
    """
    if settings.rate_limit_enabled and settings.redis_url is None:
        log.warning("limits_are_per_worker", workers=settings.web_concurrency, remedy="set REDIS_URL")
    common_passwords()
    gc.freeze()  # shared with the workers: a collection would copy every page it visits
    with ExitStack() as resources:
        try:
            folder = resources.enter_context(multiprocess_metrics.folder())
        except OSError as error:
            log.error("no_place_for_metrics", reason=error.strerror, remedy="make /dev/shm or /tmp writable")
            return 1
        listener, *metrics_listeners = listeners
        arbiter = ServiceArbiter(GunicornApplication(settings, metrics_listeners, folder, on_ready))
        arbiter.LISTENERS = [listener]
        try:
            arbiter.run()
        except SystemExit as end:
            return 1 if end.code else 0
    raise AssertionError("the arbiter ends by SystemExit")


class GunicornLog:
    """Writes gunicorn's messages to our log."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    def __getattr__(self, level: str) -> Callable[..., None]:
        reason = level == "exception" or None
        level = {"critical": "error", "exception": "error"}.get(level, level)
        if level not in {"debug", "info", "warning", "error"}:
            return lambda *_: None  # about log files, which there are none of

        def write(words: str, *values: object, exc_info: object = reason, **_: object) -> None:
            getattr(log, level)("workers", detail=words % values if values else words, exc_info=exc_info)

        return write


class GunicornApplication(Application):  # type: ignore[misc]
    """The configuration of gunicorn, and the objects that the workers need."""

    def __init__(
        self,
        settings: Settings,
        metrics_listeners: Sequence[socket.socket],
        folder: Path,
        on_ready: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.metrics_listeners = metrics_listeners
        self.folder = folder
        self.on_ready = on_ready
        super().__init__()

    def load_config(self) -> None:
        """Load the configuration file and our settings; arguments and gunicorn's own variables are ignored."""
        self.load_config_from_file(CONFIGURATION)
        ending = runner.LINGER_SECONDS + runner.SHUTDOWN_SECONDS + runner.MAIL_SECONDS
        patience = self.settings.drain + ending + CLOSE_SECONDS
        self.cfg.set("workers", self.settings.web_concurrency)
        self.cfg.set("graceful_timeout", ceil(patience))
        self.cfg.set("worker_tmp_dir", str(self.folder.parent))  # in memory; unlike the folder it cannot vanish


class ServiceArbiter(Arbiter):  # type: ignore[misc]
    """The parent process. `uncounted_deaths` wait for a new worker to count them: the parent has no metrics."""

    def __init__(self, application: GunicornApplication) -> None:
        super().__init__(application)
        self.deaths: deque[float] = deque(maxlen=DEATHS)
        self.uncounted_deaths = 0
        self.fresh: set[int] = set()  # pids of the workers of a reload
        self.ending = False

    def signal(self, sig: int, frame: Any) -> None:
        if sig in END_SIGNALS:
            if self.ending:
                self.kill_workers(signal.SIGKILL)
            self.ending = True
        super().signal(sig, frame)

    def stop(self, graceful: bool = True) -> None:
        self.ending = True
        super().stop(graceful)

    def handle_int(self) -> None:
        self.handle_term()

    def handle_usr1(self) -> None:
        """Do nothing: no log files are open."""

    def handle_usr2(self) -> None:
        log.warning("workers", detail="SIGUSR2 is not supported: start the new release beside this one, or send SIGHUP")

    def reload(self) -> None:
        """Start as many new workers; `manage_workers` ends the old ones when all new ones serve."""
        self.fresh = {self.spawn_worker() for _ in range(self.num_workers)}

    def kill_worker(self, pid: int, sig: int) -> None:
        worker = self.WORKERS.get(pid)
        if worker and not worker.aborted:  # an aborted one has frozen
            worker.retired = True
            worker.age = 0  # gunicorn ends the oldest when there are too many
        super().kill_worker(pid, sig)

    def reap_workers(self) -> None:
        for worker in self.WORKERS.values():
            worker.has_served = worker.is_ready  # its heartbeat can no longer be read when it is buried
        try:
            super().reap_workers()
        except HaltServer:
            if not self.ending:  # the first of several that cannot start has given the reason
                raise

    def manage_workers(self) -> None:
        self.spawn_workers()
        if self.fresh - self.WORKERS.keys():
            log.error("workers", detail="the new workers do not serve: the old ones go on")
            self._retire(self.fresh)
        elif all(worker.is_ready for worker in self.WORKERS.values()):
            self._retire(self.WORKERS.keys() - self.fresh if self.fresh else ())
            super().manage_workers()

    def _retire(self, pids: Collection[int]) -> None:
        for pid in [pid for pid, worker in self.WORKERS.items() if pid in pids and not worker.retired]:
            self.kill_worker(pid, signal.SIGTERM)
        self.fresh = set()

    def spawn_workers(self) -> None:
        """Start the missing workers: retired ones do not count, and at the end none is missing."""
        while not self.ending and self.num_workers > sum(not worker.retired for worker in self.WORKERS.values()):
            self.spawn_worker()

    def spawn_worker(self) -> int:
        if len(self.deaths) == DEATHS and time.monotonic() - self.deaths[0] < DEATH_SECONDS:
            log.error("workers_keep_dying", deaths=DEATHS, seconds=DEATH_SECONDS)
            time.sleep(1)
        signal.pthread_sigmask(signal.SIG_BLOCK, {*END_SIGNALS, signal.SIGQUIT})  # kept for a worker that is starting
        try:
            pid: int = super().spawn_worker()
        except BaseException as end:
            if os.getpid() == self.pid:
                raise
            sentry.flush()
            sys.stdout.flush()  # the end of a worker; the parent's resources are not ours to close
            os._exit(self._exit_status(end))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*END_SIGNALS, signal.SIGQUIT})
        return pid

    def _exit_status(self, end: BaseException) -> int:
        """The exit status of a worker. One of the first that cannot start ends the service; a later one is a death."""
        status = end.code if isinstance(end, SystemExit) and isinstance(end.code, int) else 1
        return 1 if status == self.WORKER_BOOT_ERROR and self.worker_age > self.cfg.workers else status
