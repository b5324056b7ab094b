"""The process that has the listener and the workers: gunicorn's arbiter, which starts, watches and replaces them.

It serves nothing itself. No connection is lost with a worker that ends, as the listener is the parent's.
"""

import gc
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
from gunicorn.app.base import Application
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from todo_service.config.settings import Settings
from todo_service.observability import multiprocess_metrics
from todo_service.postgres.connector import CLOSE_SECONDS
from todo_service.server import runner
from todo_service.server.worker import END
from todo_service.wire.new_passwords import common_passwords

CONFIGURATION = "python:todo_service.server.gunicorn_conf"
START_SECONDS = 15  # how long a rolling restart waits for the new workers
DEATHS, DEATH_SECONDS = 5, 5  # so many deaths in so many seconds, and the next worker has to wait a second

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
            folder = opened.enter_context(multiprocess_metrics.folder())
        except OSError as error:
            log.error("no_place_for_metrics", reason=error.strerror, remedy="make /dev/shm or /tmp writable")
            return 1
        listener, *beside = listeners
        parent = Parent(Service(settings, beside, folder, on_ready))
        parent.LISTENERS = [listener]
        try:
            parent.run()
        except SystemExit as ended:
            return 1 if ended.code else 0
    raise AssertionError("the parent ends by an exit")


class Log:
    """gunicorn's words in our log."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    def __getattr__(self, level: str) -> Callable[..., None]:
        reason = level == "exception" or None
        level = {"critical": "error", "exception": "error"}.get(level, level)
        if level not in {"debug", "info", "warning", "error"}:
            return lambda *_: None  # of files, which there are none of

        def write(words: str, *values: object, exc_info: object = reason, **_: object) -> None:
            getattr(log, level)("workers", detail=words % values if values else words, exc_info=exc_info)

        return write


class Service(Application):  # type: ignore[misc]
    """What gunicorn is told, and what the workers need: they serve the listeners `beside` the parent's too."""

    def __init__(
        self, settings: Settings, beside: Sequence[socket.socket], folder: Path, on_ready: Callable[[], None]
    ) -> None:
        self.settings = settings
        self.beside = beside
        self.folder = folder
        self.on_ready = on_ready
        super().__init__()

    def load_config(self) -> None:
        """The configuration file and what the settings say; arguments and gunicorn's variables are not looked at."""
        self.load_config_from_file(CONFIGURATION)
        patience = self.settings.drain + runner.LINGER_SECONDS + runner.SHUTDOWN_SECONDS + CLOSE_SECONDS
        self.cfg.set("workers", self.settings.web_concurrency)
        self.cfg.set("graceful_timeout", ceil(patience))
        self.cfg.set("worker_tmp_dir", str(self.folder.parent))  # in memory; unlike the folder it cannot vanish


class Parent(Arbiter):  # type: ignore[misc]
    """The process that has the listener and the workers."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.deaths: deque[float] = deque(maxlen=DEATHS)
        self.untold = 0  # deaths that no new worker has counted yet: the parent has no numbers of its own
        self.ending = False

    def signal(self, sig: int, frame: Any) -> None:
        if sig in END:
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
        """No log files are open."""

    def handle_usr2(self) -> None:
        log.warning("workers", detail="SIGUSR2 is not supported: start the new release beside this one, or send SIGHUP")

    def kill_worker(self, pid: int, sig: int) -> None:
        worker = self.WORKERS.get(pid)
        if worker and not worker.aborted:  # that one froze
            worker.retired = True
            worker.age = 0  # gunicorn ends the oldest when there are too many
        super().kill_worker(pid, sig)

    def reap_workers(self) -> None:
        for worker in self.WORKERS.values():
            worker.has_served = worker.is_ready  # its heartbeat can no longer be read when it is buried
        try:
            super().reap_workers()
        except HaltServer:
            if not self.ending:  # the first of several that cannot start has said so
                raise

    def manage_workers(self) -> None:
        self.spawn_workers()
        super().manage_workers()

    def spawn_workers(self) -> None:
        """As many as are missing: those that were told to end do not count, and at the end nobody is missed."""
        while not self.ending and self.num_workers > sum(not worker.retired for worker in self.WORKERS.values()):
            self.spawn_worker()

    def spawn_worker(self) -> int:
        if len(self.deaths) == DEATHS and time.monotonic() - self.deaths[0] < DEATH_SECONDS:
            log.error("workers_keep_dying", deaths=DEATHS, seconds=DEATH_SECONDS)
            time.sleep(1)
        signal.pthread_sigmask(signal.SIG_BLOCK, {*END, signal.SIGQUIT})  # a worker must hear what is said early
        try:
            pid: int = super().spawn_worker()
        except BaseException as ended:
            if os.getpid() == self.pid:
                raise
            sys.stdout.flush()  # a worker's end: what the parent has opened is not ours to close
            os._exit(self._status(ended))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*END, signal.SIGQUIT})
        return pid

    def _status(self, ended: BaseException) -> int:
        """What a worker exits with. If one of the first cannot start, that ends the service; later it is a death."""
        status = ended.code if isinstance(ended, SystemExit) and isinstance(ended.code, int) else 1
        return 1 if status == self.WORKER_BOOT_ERROR and self.worker_age > self.cfg.workers else status

    def reload(self) -> None:
        """Replace the workers: the old ones are told to end when the new ones serve, and stay if these do not."""
        old = set(self.WORKERS)
        new = {self.spawn_worker() for _ in range(self.num_workers)}
        superfluous = old
        serve = self._serve(new)
        if self.ending:  # then all of them are told
            return
        if not serve:
            log.error("workers", detail="the new workers do not serve: the old ones go on")
            superfluous = new
        for pid in superfluous & set(self.WORKERS):
            self.kill_worker(pid, signal.SIGTERM if self.WORKERS[pid].is_ready else signal.SIGKILL)

    def _serve(self, new: set[int]) -> bool:
        """Whether all of these get to serve; false as soon as one has died, or the end has come."""
        deadline = time.monotonic() + START_SECONDS
        while not self.ending and time.monotonic() < deadline and new <= set(self.WORKERS):
            if all(self.WORKERS[pid].is_ready for pid in new):
                return True
            time.sleep(0.05)
            self.reap_workers()
        return False
