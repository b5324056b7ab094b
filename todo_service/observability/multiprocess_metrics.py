"""One truth from several workers: each writes its numbers to files in one folder, and any of them adds all up.

A worker writes as one of a few numbered slots. When it dies its counts stay, and whoever has the slot next goes on
from them; so there are never more files than there were workers at once, however often one dies.
"""

import fcntl
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from prometheus_client import multiprocess, values
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

PREFIX = "todo-service-metrics-"
MEMORY = Path("/dev/shm")  # noqa: S108 - where a container may write even if its file system is read-only

log = structlog.get_logger()


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder, in memory if possible, removed at the end. Folders of services that were killed are removed too.

    Raises `OSError` if there is no place for one.
    """
    place = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for abandoned in place.glob(f"{PREFIX}*"):
        with suppress(OSError), _held(abandoned):
            shutil.rmtree(abandoned)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    with _held(path):
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the folder's lock, which the workers inherit. Raises `OSError` if somebody else lives who holds it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def write_as(slot: int, path: Path) -> None:
    """Let the metrics that this process makes from now on write to `path`, going on from the counts of this slot."""
    forget(slot, path)
    for file in path.glob(f"*_{slot}.db"):
        if not is_sound(file):
            log.warning("metric_file_dropped", file=file.name)
            file.unlink()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(path)
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


def forget(slot: int, path: Path) -> None:
    """Take what a dead worker had at hand out of the sums; what it counted stays in them."""
    multiprocess.mark_process_dead(slot, str(path))  # type: ignore[no-untyped-call]


class MetricFiles(Collector):
    """The sums over all workers, dead ones included."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: set[bytes] = set()

    def collect(self) -> Iterable[Metric]:
        """Read the files. One that a worker was killed over is passed over."""
        sound = [str(file) for file in self._path.glob("*.db") if is_sound(file, self._known)]
        merge: Callable[[list[str]], Iterable[Metric]] = multiprocess.MultiProcessCollector.merge
        return merge(sound)


def is_sound(file: Path, known: set[bytes] | None = None) -> bool:
    """Whether a file can be read to its end: the library fails over one that cannot, or never ends. Names of series
    that are `known` to be sound are not looked at again.
    """
    known = set() if known is None else known
    try:
        data = file.read_bytes()
        (used,) = struct.unpack_from("i", data)
        position = 8
        while position < used:
            (length,) = struct.unpack_from("i", data, position)
            start, end = position + 4, position + 4 + length
            if (key := data[start:end]) not in known:
                _name, _sample, _labels, _help = json.loads(key)
                known.add(key)
            position = end + 8 - (length + 4) % 8 + 16
            if length <= 0 or position > min(used, len(data)):
                return False
    except (OSError, ValueError, TypeError, struct.error):
        return False
    return bool(used >= 0)
