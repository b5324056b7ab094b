"""The sums of several workers: right after deaths, whatever a killed worker left behind."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import values

from todo_service.observability import multiprocess_metrics
from todo_service.observability.metrics import Metrics
from todo_service.observability.multiprocess_metrics import MetricFiles, is_sound, write_as


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the workers of a test write; other tests count in memory."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    yield tmp_path
    values.close_all_multiprocess_files()  # type: ignore[no-untyped-call]


def worker(slot: int, folder: Path) -> Metrics:
    write_as(slot, folder)
    return Metrics(version="1", source=MetricFiles(folder))


def count(metrics: Metrics) -> None:
    metrics.count_answer("GET", "/", 200, 0.01)


def sample(metrics: Metrics, name: str) -> float:
    return sum(sample.value for family in metrics.families() for sample in family.samples if sample.name == name)


def test_any_worker_tells_of_all(folder: Path) -> None:
    workers = [worker(slot, folder) for slot in range(3)]
    for number, metrics in enumerate(workers):
        metrics.in_flight.inc()
        for _ in range(number + 1):
            count(metrics)
    for metrics in workers:
        assert sample(metrics, "todo_http_requests_total") == 6
        assert sample(metrics, "todo_http_request_duration_seconds_count") == 6
        assert sample(metrics, "todo_http_requests_in_flight") == 3
        assert sample(metrics, "todo_build_info") == 1


def test_the_dead_keep_their_counts_and_lose_what_they_had_at_hand(folder: Path) -> None:
    first, second = worker(0, folder), worker(1, folder)
    for metrics in (first, second):
        count(metrics)
        metrics.in_flight.inc()
    multiprocess_metrics.forget(1, folder)
    assert sample(first, "todo_http_requests_in_flight") == 1
    files = sorted(folder.glob("*.db"))
    again = worker(1, folder)
    count(again)
    assert sample(first, "todo_http_requests_total") == 3
    assert sample(first, "todo_http_requests_in_flight") == 1
    for _ in range(20):
        worker(1, folder)
    assert len(list(folder.glob("*.db"))) == len(files) + 2


@pytest.mark.parametrize("left", [b"", b"\0", b"\x08", b"\xff" * 100, b"\x00\x10\x00\x00" + b"\xf0" * 8000])
def test_a_file_that_cannot_be_read_takes_nothing_else_with_it(folder: Path, left: bytes) -> None:
    metrics = worker(0, folder)
    count(metrics)
    for name in ("counter_1.db", "histogram_1.db", "gauge_livesum_1.db"):
        (folder / name).write_bytes(left)
    assert sample(metrics, "todo_http_requests_total") == 1
    other = worker(1, folder)
    count(other)
    assert sample(metrics, "todo_http_requests_total") == 2


def test_no_file_of_chance_is_taken_for_a_sound_one(folder: Path) -> None:
    metrics = worker(0, folder)
    count(metrics)
    whole = (folder / "histogram_0.db").read_bytes()
    taken = 0
    dice, file = random.Random(2), folder / "histogram_9.db"  # noqa: S311
    for _ in range(300):
        broken = bytearray(whole[: dice.choice([8, 100, 5000, len(whole)])])
        for _ in range(dice.randrange(1, 50)):
            broken[dice.randrange(min(3000, len(broken)))] = dice.randrange(256)
        file.write_bytes(broken)
        if is_sound(file):
            taken += 1
            MetricFiles(folder).collect()
        assert sample(metrics, "todo_http_requests_total") == 1
    assert taken < 300, "some were broken for certain"


def test_folders_of_the_killed_are_swept_and_those_of_the_living_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocess_metrics, "MEMORY", tmp_path)
    program = (
        "import os, pathlib; from todo_service.observability import multiprocess_metrics\n"
        f"multiprocess_metrics.MEMORY = pathlib.Path({str(tmp_path)!r})\n"
        "with multiprocess_metrics.folder(): os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program], check=False, env=os.environ)
    assert len(list(tmp_path.iterdir())) == 1
    with multiprocess_metrics.folder() as mine, multiprocess_metrics.folder():
        assert mine.exists()
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []
