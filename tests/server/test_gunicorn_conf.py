"""Numbers outlive their worker, deaths are counted, and a worker that cannot start ends no other."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

from aiohttp import ClientSession

from tests.client import Api
from tests.conftest import SECRET_KEY, Figure
from tests.observability.test_metrics import requests, shown
from tests.proxy import until
from tests.server.test_arbiter import (
    Process,
    children,
    ended,
    folders,
    in_new_connections,
    serving,
    swept_away,
    workers,
)
from todo_service.config.settings import ROOT
from todo_service.server import runner


async def test_a_thousand_requests_are_a_thousand_also_after_a_kill(database_url: str, figure: Figure) -> None:
    async with workers(4, database_url, LOG_LEVEL="WARNING") as (process, api):
        before = requests(await shown(api)).get("method=GET,route=/,status=200", 0)

        async def many(count: int) -> None:
            for _ in range(count):
                async with ClientSession() as session:
                    assert (await Api(session, api.base).get("/")).status == 200

        await asyncio.gather(*(many(50) for _ in range(10)))
        await asyncio.sleep(0.1)  # a worker writes its counts at the end of a turn of its event loop
        victim = children(process)[0]
        os.kill(victim, signal.SIGKILL)
        started = time.monotonic()
        await until(lambda: _replaced(process, victim, 4), 5)
        figure(f"a killed worker was replaced after {time.monotonic() - started:.2f} s")
        assert time.monotonic() - started < 1
        await asyncio.gather(*(many(50) for _ in range(10)))
        await until(lambda: _has_counted_a_death(api), 10)

        async def check(own: Api) -> None:
            samples = await shown(own)
            assert requests(samples)["method=GET,route=/,status=200"] - before == 1000
            assert samples["todo_worker_deaths_total{}"] == 1

        await in_new_connections(api, check, 12)
        await ended(process)


async def _has_counted_a_death(api: Api) -> bool:
    """Whether the successor of a dead worker serves: it counts the death then."""
    return (await shown(api))["todo_worker_deaths_total{}"] == 1


async def _replaced(process: Process, victim: int, count: int) -> bool:
    now = children(process)
    return victim not in now and len(now) == count


async def test_workers_that_keep_dying_are_not_replaced_without_a_pause(database_url: str) -> None:
    async with workers(2, database_url, LOG_LEVEL="WARNING") as (process, _):
        killed, deadline = 0, time.monotonic() + 5
        while time.monotonic() < deadline:
            for pid in children(process):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            await asyncio.sleep(0.02)
        await until(lambda: serving(process, 2), 5)
        entries = await ended(process)
    assert any(entry["event"] == "workers_keep_dying" for entry in entries)
    assert killed < 25


def test_first_workers_that_cannot_start_end_the_service(database_url: str) -> None:
    """As on a full disk: no file may be longer than 512 bytes, so none of them has a place for its numbers."""
    with runner.bind("127.0.0.1", 0) as listener:
        port = str(listener.getsockname()[1])
    given = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY, "SERVER_PORT": port, "WEB_CONCURRENCY": "2"}
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = ["sh", "-c", f"ulimit -f 1; exec {sys.executable} -m todo_service"]
    done = subprocess.run(command, env=unmeasured | given, cwd=ROOT, capture_output=True, text=True, timeout=20)
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert any("OSError" in entry.get("exception", "") for entry in entries)
    assert any(entry["detail"] == "Reason: Worker failed to boot." for entry in entries if entry["event"] == "workers")


async def test_a_later_worker_that_cannot_start_is_a_death_and_the_others_go_on(database_url: str) -> None:
    async with workers(2, database_url, LOG_LEVEL="WARNING") as (process, api):
        with swept_away(process):
            os.kill(children(process)[0], signal.SIGKILL)
            for _ in range(12):
                assert (await api.get("/health/live")).status == 200
                await asyncio.sleep(0.25)

        async def deaths() -> float:
            return (await shown(api))["todo_worker_deaths_total{}"]

        await until(deaths, 5)
        counted = await deaths()
        entries = await ended(process)
    failed = sum("exited with code 1" in str(entry.get("detail")) for entry in entries)
    assert 5 <= failed < 12
    assert counted == failed + 1
    assert any(entry["event"] == "workers_keep_dying" for entry in entries)


async def test_nothing_stays_behind(database_url: str) -> None:
    async with workers(2, database_url) as (process, _):
        (folder,) = folders(process)
        slots = {file.stem.rpartition("_")[2] for file in folder.glob("*.db")}
        assert slots == {"0", "1"}
        await ended(process)
    assert not folder.exists()
