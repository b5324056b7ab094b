"""What a worker adds to aiohttp's: a full backlog, an end at once, heartbeats while it drains, a stack if it froze."""

import asyncio
import os
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.client import Api
from tests.conftest import SECRET_KEY
from tests.observability.test_metrics import shown
from tests.process import served
from tests.proxy import until
from tests.server.test_arbiter import children, ended, is_gone, workers
from tests.sockets import connect, talk
from todo_service.config.settings import ROOT
from todo_service.server.runner import bind

FROZEN_SECONDS = 30
MANY = 300  # connections: more than aiohttp's own backlog of 128 takes
GROUP = ("setsid", sys.executable, "-m", "todo_service")
STAND_STILL = """
import runpy, signal, time

def stand_still(*_):
    time.sleep(600)

signal.signal(signal.SIGRTMIN, stand_still)
runpy.run_module("todo_service", run_name="__main__")
"""
FREEZABLE = (sys.executable, "-c", STAND_STILL)  # the service, but a worker's event loop can be held up from outside


CANNOT_START = """
import runpy
from todo_service.limits.rate import RateLimiter
async def fail(self):
    raise ArithmeticError
RateLimiter.open = fail
runpy.run_module("todo_service", run_name="__main__")
"""


@pytest.mark.parametrize("count", ["1", "2"])
async def test_a_worker_that_cannot_start_says_why_and_ends_the_service(database_url: str, count: str) -> None:
    with bind("127.0.0.1", 0) as listener:
        port = str(listener.getsockname()[1])
    settings = {"SECRET_KEY": SECRET_KEY, "DATABASE_URL": database_url, "WEB_CONCURRENCY": count, "SERVER_PORT": port}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CANNOT_START, env=os.environ | settings, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await asyncio.wait_for(process.communicate(), 20))[0]
    assert process.returncode not in {None, 0}
    assert b"ArithmeticError" in output


async def test_connections_wait_for_workers_that_are_stopped(database_url: str) -> None:
    async with workers(2, database_url) as (process, api), AsyncExitStack() as opened:
        stopped = children(process)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        waiting = [await opened.enter_async_context(connect(api)) for _ in range(MANY)]
        assert time.monotonic() - began < 1  # one that finds no place is only tried again after a second
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        for connection in waiting:
            await connection.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await connection.answer())[0] == 200
        await ended(process)


async def test_ctrl_c_is_heard_by_all_and_ends_politely(database_url: str) -> None:
    async with workers(2, database_url, *GROUP) as (process, api):
        ada = await api.new_user()
        async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Content-Length": "14"}) as begun:
            await asyncio.sleep(0.2)
            os.killpg(process.pid, signal.SIGINT)
            await asyncio.sleep(0.3)
            await begun.send(b'{"title": "t"}')
            assert (await begun.answer())[0] == 201
            assert begun.headers["connection"] == "close"
        output = (await asyncio.wait_for(process.communicate(), 10))[0]
        assert process.returncode == 0
        assert output.count(b'"event":"stopped"') == 2
        assert b'"level":"error"' not in output


@pytest.mark.parametrize("drain", [0, 1])
async def test_nothing_in_flight_ends_it_soon(database_url: str, drain: int) -> None:
    async with workers(2, database_url, DRAIN_SECONDS=str(drain)) as (process, _):
        began = time.monotonic()
        await ended(process)
        assert time.monotonic() - began < drain + 2


@pytest.mark.parametrize("count", ["1", "2"])
async def test_uvloop_serves(database_url: str, count: str) -> None:
    async with served(DATABASE_URL=database_url, WEB_CONCURRENCY=count) as (process, _):
        started = [entry for entry in await ended(process) if entry["event"] == "started"]
    assert {entry["loop"] for entry in started} == {"uvloop"}


async def test_a_worker_that_drains_for_long_is_let_and_a_frozen_one_is_ended(
    database_url: str, tmp_path: Path
) -> None:
    log, longer = tmp_path / "log", FROZEN_SECONDS + 6
    environment = {"DRAIN_SECONDS": str(longer), "PYTHONFAULTHANDLER": "1"}
    with log.open("wb") as output:
        async with workers(2, database_url, *FREEZABLE, output=output, **environment) as (process, api):
            draining = set(children(process))
            began = time.monotonic()
            process.send_signal(signal.SIGHUP)

            async def both_serve() -> bool:
                return len(children(process)) == 4 and log.read_bytes().count(b'"event":"draining"') == 2

            await until(both_serve, 20)
            frozen = min(set(children(process)) - draining)
            os.kill(frozen, signal.SIGRTMIN)
            await until(lambda: _is_gone(frozen), FROZEN_SECONDS + 5)
            assert draining < set(children(process))

            async def replaced() -> bool:
                now = set(children(process))
                return len(now) == 2 and frozen not in now and not now & draining

            await until(replaced, 15)
            assert longer <= time.monotonic() - began
            assert (await api.get("/health/ready")).status == 200
            await until(lambda: _one_death(api))
            process.kill()
    text = log.read_text()
    assert "Fatal Python error: Aborted" in text
    assert "in stand_still" in text
    assert text.count('"event":"stopped"') == 2
    assert text.count("was sent SIGKILL") == 0


async def _one_death(api: Api) -> bool:
    return (await shown(api))["todo_worker_deaths_total{}"] == 1


async def _is_gone(pid: int) -> bool:
    return is_gone(str(pid))
