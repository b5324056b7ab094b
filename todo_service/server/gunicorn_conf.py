"""gunicorn's configuration file: the part that is the same for every number of workers.

The names are those of gunicorn's settings and hooks. Its log files, its HTTP and its control socket are not used.
"""

import itertools
import time

from todo_service.observability import multiprocess_metrics
from todo_service.server.arbiter import GunicornLog, ServiceArbiter
from todo_service.server.worker import Worker

worker_class = Worker
timeout = 30  # seconds; a worker with a longer blocked event loop is killed
logger_class = GunicornLog
control_socket_disable = True


def pre_fork(arbiter: ServiceArbiter, worker: Worker) -> None:
    """Assign the lowest slot that no living worker has, and the deaths that are not counted yet."""
    taken = {sibling.slot for sibling in arbiter.WORKERS.values()}
    worker.slot = next(slot for slot in itertools.count() if slot not in taken)
    worker.first_beat = worker.tmp.last_update()
    worker.deaths, arbiter.uncounted_deaths = arbiter.uncounted_deaths, 0


def child_exit(arbiter: ServiceArbiter, worker: Worker) -> None:
    """Record an unrequested death and the deaths that the worker has not counted; drop its gauges."""
    if not worker.retired:
        arbiter.deaths.append(time.monotonic())
        arbiter.uncounted_deaths += 1
    if not worker.has_served:
        arbiter.uncounted_deaths += worker.deaths
    multiprocess_metrics.forget(worker.slot, arbiter.app.folder)
