"""Processor time, memory and open files of the processes of a service with several workers, as of one process."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PROC = Path("/proc")
CPU = "process_cpu_seconds"
ATTEMPTS = 3
# The files are those of the process that is nearest to its limit of open files, for that limit is each one's own.
COMBINED: Mapping[str, tuple[Callable[[list[float]], float], str]] = {
    CPU: (sum, "Processor time of the parent and all workers, ended ones too."),
    "process_resident_memory_bytes": (sum, "Resident memory of the parent and the workers, shared pages in each."),
    "process_virtual_memory_bytes": (sum, "Virtual memory of the parent and the workers."),
    "process_start_time_seconds": (min, "When the parent started, in seconds since 1970."),
    "process_open_fds": (max, "Open files of the process that has the most."),
    "process_max_fds": (min, "How many files one process may open."),
}


def write_pid(slot: int, path: Path) -> None:
    """Let the other workers know that this process has the slot."""
    (path / f"{slot}.pid").write_text(str(os.getpid()), encoding="utf-8")


class ServiceProcesses(Collector):
    """The processes of the service: the parent of this one, and the workers that have called `write_pid`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = 0
        self._of_one = ProcessCollector(pid=lambda: self._pid, registry=None)

    def collect(self) -> Iterable[Metric]:
        """Read /proc; where there is none, as outside Linux, nothing is returned."""
        parent = os.getppid()
        for _ in range(ATTEMPTS):
            ended = _cpu_of_ended(parent)
            values: dict[str, list[float]] = defaultdict(list)
            for pid in (parent, *self._workers(parent)):
                self._pid = pid
                for family in self._of_one.collect():
                    values[family.name].append(family.samples[0].value)
            if _cpu_of_ended(parent) == ended:  # else a worker's time was counted twice or not at all
                break
        values[CPU].append(ended)
        for name, (combine, text) in COMBINED.items():
            if len(values[name]) > (name == CPU):
                kind = CounterMetricFamily if name == CPU else GaugeMetricFamily
                yield kind(name, text, value=combine(values[name]))

    def _workers(self, parent: int) -> Iterator[int]:
        for file in self._path.glob("*.pid"):
            try:
                pid = int(file.read_text(encoding="utf-8"))
                if int(_stat(pid)[1]) == parent:
                    yield pid
            except (OSError, ValueError):  # it has ended, or is writing the file now
                continue


def _cpu_of_ended(parent: int) -> float:
    """Return the seconds of processor time of the children that have ended."""
    try:
        user, system = _stat(parent)[13:15]
    except OSError:
        return 0
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the third on (proc_pid_stat(5)): the state, the parent's id …"""
    return (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
