"""`bin/serve` as a newcomer runs it, with an embedded PostgreSQL: it keeps the data and leaves nothing running."""

import asyncio
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from aiohttp import ClientError

from tests.client import Api
from tests.process import served
from tests.proxy import until
from todo_service.config.settings import ROOT
from todo_service.server import runner

SERVE = str(ROOT / "bin/serve")
GONE_SECONDS = 3


@asynccontextmanager
async def newcomer(data: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, Api]]:
    async with served(SERVE, DATA_DIR=str(data), TODO_SERVICE_VENV=sys.prefix) as running:
        yield running


def at_work(data: Path) -> list[str]:
    """The processes whose working directory is inside the data folder: PostgreSQL's, if any lives."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = (process / "cwd").readlink()
        except OSError:
            continue
        if where.is_relative_to(data):
            found.append(process.name)
    return found


async def until_nothing_is_at_work(data: Path) -> None:
    async with asyncio.timeout(GONE_SECONDS):
        while at_work(data):
            await asyncio.sleep(0.02)


async def seconds_of_the_imports() -> float:
    """How long this machine takes, at this moment, to load the code."""
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import todo_service.app", cwd=ROOT)
    assert await process.wait() == 0
    return time.monotonic() - started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_start_is_quick_and_has_the_data_and_nothing_stays_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with newcomer(tmp_path) as (process, api):
        ada = await api.new_user()
        await api.post("/api/v1/tasks", {"title": "keep me"}, as_=ada)
        assert at_work(tmp_path)
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert at_work(tmp_path) == []
    ratios = [math.inf]
    while min(ratios) >= 3 and len(ratios) < 8:  # the quickest one counts: others are at work on this machine
        started = time.monotonic()
        async with newcomer(tmp_path):
            seconds = time.monotonic() - started
        ratios.append(seconds / max(1, await seconds_of_the_imports()))
    assert min(ratios) < 3
    async with newcomer(tmp_path) as (_, api):
        assert [task["title"] for task in (await api.get("/api/tasks", as_=ada)).body] == ["keep me"]
        assert (await api.get("/health/ready")).status == 200


async def test_kill_9_in_a_create_storm_loses_no_answered_task(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    async with newcomer(tmp_path) as (process, api):
        ada = await api.new_user()

        async def create_until_killed(number: int) -> None:
            for n in range(1000):
                try:
                    answer = await api.post("/api/v1/tasks", {"title": f"{number}-{n}"}, as_=ada)
                except ClientError:
                    return
                assert answer.status == 201
                acknowledged.add(answer.body["title"])

        storm = [asyncio.ensure_future(create_until_killed(number)) for number in range(20)]
        while len(acknowledged) < 200:
            await asyncio.sleep(0.01)
        process.kill()
        await asyncio.gather(*storm)
        await until_nothing_is_at_work(tmp_path)
    async with newcomer(tmp_path) as (_, api):
        tasks = (await api.get("/api/tasks", as_=ada)).body
    titles = [task["title"] for task in tasks]
    assert acknowledged <= set(titles)
    assert len(titles) == len(set(titles))
    assert sorted(task["version"] for task in tasks) == list(range(1, len(tasks) + 1))


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with runner.bind("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        environment = {"SERVER_PORT": port, "DATA_DIR": str(tmp_path / "data"), "TODO_SERVICE_VENV": sys.prefix}
        done = subprocess.run([SERVE], env=os.environ | environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"Todo Service cannot start. Cannot listen on 127.0.0.1 port {port}: Address already in use. "
        "End the program that has it, or set SERVER_PORT."
    ]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["203.0.113.9", "no-such-host.invalid"])
def test_an_address_that_is_none_of_ours_is_a_matter_of_the_host(tmp_path: Path, host: str) -> None:
    environment = {"SERVER_HOST": host, "DATA_DIR": str(tmp_path / "data"), "TODO_SERVICE_VENV": sys.prefix}
    done = subprocess.run([SERVE], env=os.environ | environment, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.endswith("Set SERVER_HOST to an address of this machine.\n")


@pytest.mark.parametrize(("count", "said"), [("many", "WEB_CONCURRENCY: should be a valid integer"), ("", "port")])
def test_a_number_of_workers_that_is_none_is_a_setting_like_others(count: str, said: str) -> None:
    """A wrong one is named, an empty one counts as not given; gunicorn would fail over both."""
    with runner.bind("127.0.0.1", 0) as taken:
        environment = {"SERVER_PORT": str(taken.getsockname()[1]), "WEB_CONCURRENCY": count}
        command = [sys.executable, "-m", "todo_service"]
        done = subprocess.run(
            command, env=os.environ | environment, cwd=ROOT, capture_output=True, text=True, timeout=20
        )
    assert "Traceback" not in done.stderr
    assert said in done.stderr


async def _has_handler(pid: int) -> bool:
    """Whether the process handles SIGTERM (proc_pid_status(5))."""
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


async def test_sigterm_is_heard_from_the_first_moment_on(tmp_path: Path) -> None:
    """As process 1 of a container Python would ignore it until it has a handler."""
    for delay in (0, 0.15, 0.35):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "todo_service", env=os.environ | {"DATA_DIR": str(tmp_path / "data")},
            cwd=ROOT, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await until(partial(_has_handler, process.pid), 10)
        assert delay or "cryptography" not in Path(f"/proc/{process.pid}/maps").read_text(), "before the imports"
        await asyncio.sleep(delay)
        process.terminate()
        _, said = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode in {0, 143}
        assert b"Traceback" not in said
        await until_nothing_is_at_work(tmp_path)


def test_a_data_folder_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {"DATA_DIR": str(tmp_path / "file"), "TODO_SERVICE_VENV": sys.prefix, "SERVER_PORT": "29999"}
    done = subprocess.run([SERVE], env=os.environ | environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Todo Service cannot start. No SECRET_KEY is set and none can be")
    assert "Traceback" not in done.stderr
