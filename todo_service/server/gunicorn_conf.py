"""gunicorn's configuration file: what holds however many workers there are. The parent adds what the settings say.

The names are those of gunicorn's settings and hooks. Its log files, its HTTP and its control socket are not used.
"""

import itertools
import time

from todo_service.observability import multiprocess_metrics
from todo_service.server.arbiter import Log, Parent
from todo_service.server.worker import Worker

worker_class = Worker
timeout = 30  # seconds; a worker whose event loop stands still for longer is killed
logger_class = Log
control_socket_disable = True


def pre_fork(parent: Parent, worker: Worker) -> None:
    """Give it the lowest slot that no living worker has, and the deaths that nobody has counted yet."""
    taken = {sibling.slot for sibling in parent.WORKERS.values()}
    worker.slot = next(slot for slot in itertools.count() if slot not in taken)
    worker.unborn = worker.tmp.last_update()
    worker.deaths, parent.untold = parent.untold, 0


def child_exit(parent: Parent, worker: Worker) -> None:
    """Bury it: count a death that nobody has asked for and those it could not tell of, forget what it had at hand."""
    if not worker.retired:
        parent.deaths.append(time.monotonic())
        parent.untold += 1
    if not worker.has_served:
        parent.untold += worker.deaths
    multiprocess_metrics.forget(worker.slot, parent.app.folder)
