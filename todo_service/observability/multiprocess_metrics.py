"""The metrics of several workers: each writes its own to files in one folder, and any of them adds all up.

A worker writes to one of a few numbered slots. When it dies its counts stay, and its successor in the slot continues
them, so there are never more files than there were workers at once, however often one dies.
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
from prometheus_client import PlatformCollector, multiprocess, values
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from todo_service.observability.process_metrics import ServiceProcesses, write_pid

PREFIX = "todo-service-metrics-"
MEMORY = Path("/dev/shm")  # noqa: S108 - where a container may write even if its file system is read-only

log = structlog.get_logger()


@contextmanager
def folder() -> Iterator[Path]:
    """Yield an empty folder, in memory if possible, and remove it. Folders of killed services are removed too.

    Raises:
        OSError: There is no place for one.
    """
    place = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for abandoned in place.glob(f"{PREFIX}*"):
        with suppress(OSError), _lock(abandoned):
            shutil.rmtree(abandoned)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    with _lock(path):
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the folder's lock, which the workers inherit. Raises `OSError` if another living process holds it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def write_as(slot: int, path: Path) -> None:
    """Let this process write its metrics to `path`, continuing the counts of this slot."""
    forget(slot, path)
    for file in path.glob(f"*_{slot}.db"):
        if not is_sound(file):
            log.warning("metric_file_dropped", file=file.name)
            file.unlink()
    write_pid(slot, path)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(path)
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


def forget(slot: int, path: Path) -> None:
    """Remove a dead worker's gauges from the sums; its counts stay."""
    multiprocess.mark_process_dead(slot, str(path))  # type: ignore[no-untyped-call]
    (path / f"{slot}.pid").unlink(missing_ok=True)


class MetricFiles(Collector):
    """The sums over all workers, including dead ones."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sound_keys: set[bytes] = set()
        self._others: tuple[Collector, ...] = (ServiceProcesses(path), PlatformCollector(registry=None))

    def collect(self) -> Iterable[Metric]:
        """Read the files, skipping one that was damaged when its worker was killed."""
        sound_files = [str(file) for file in self._path.glob("*.db") if is_sound(file, self._sound_keys)]
        merge: Callable[[list[str]], Iterable[Metric]] = multiprocess.MultiProcessCollector.merge
        yield from merge(sound_files)
        for other in self._others:
            yield from other.collect()


def is_sound(file: Path, sound_keys: set[bytes] | None = None) -> bool:
    """Return whether a file can be read to its end; the library fails over a damaged one, or never ends.

    Args:
        sound_keys: Series names that are sound; they are not parsed again.
    """
    sound_keys = set() if sound_keys is None else sound_keys
    try:
        data = file.read_bytes()
        (used,) = struct.unpack_from("i", data)
        position = 8
        while position < used:
            (length,) = struct.unpack_from("i", data, position)
            start, end = position + 4, position + 4 + length
            if (key := data[start:end]) not in sound_keys:
                _name, _sample, _labels, _help = json.loads(key)
                sound_keys.add(key)
            position = end + 8 - (length + 4) % 8 + 16
            if length <= 0 or position > min(used, len(data)):
                return False
    except (OSError, ValueError, TypeError, struct.error):
        return False
    return bool(used >= 0)
