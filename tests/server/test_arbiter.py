"""Several workers as one service: they are replaced without a lost request, and count as one."""

import asyncio
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector

from tests.client import Api, User
from tests.conftest import Figure
from tests.observability.test_metrics import shown
from tests.process import served
from tests.proxy import until
from tests.sockets import connect, talk
from todo_service.observability import multiprocess_metrics

Process = asyncio.subprocess.Process


@asynccontextmanager
async def workers(
    count: int, database_url: str, *command: str, output: Any = None, **environment: str
) -> AsyncIterator[tuple[Process, Api]]:
    settings = {"DATABASE_URL": database_url, "WEB_CONCURRENCY": str(count), **environment}
    async with served(*command, output=output, **settings) as (process, api):
        await until(lambda: serving(process, count))
        await until(lambda: _at_work(api, count))
        yield process, api


async def _at_work(api: Api, count: int) -> bool:
    """Whether each worker has told of its connections, which it does once it serves."""
    sizes = re.findall(r"^todo_database_pool_size (\S+)", (await api.get("/metrics")).raw.decode(), re.MULTILINE)
    return sum(map(float, sizes)) >= count


async def serving(process: Process, count: int) -> bool:
    return len(children(process)) == count


def children(process: Process) -> list[int]:
    """The living worker processes."""
    task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in task.read_text().split() if not is_gone(pid)]


def folders(process: Process) -> list[Path]:
    """The folders for metric files that the parent holds."""
    opened = {link.readlink() for link in Path(f"/proc/{process.pid}/fd").iterdir()}
    return [path for path in opened if path.name.startswith(multiprocess_metrics.PREFIX)]


def is_gone(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def ended(process: Process, seconds: float = 10) -> list[dict[str, object]]:
    """End it with SIGTERM; what it has logged."""
    process.terminate()
    output = (await asyncio.wait_for(process.communicate(), seconds))[0]
    assert process.returncode == 0
    return [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]


@asynccontextmanager
async def under_load(api: Api, user: User, clients: int) -> AsyncIterator[Counter[object]]:
    """Keep-alive clients create tasks meanwhile; what became of their requests."""
    outcomes: Counter[object] = Counter()
    stopping = asyncio.Event()

    async def client() -> None:
        async with ClientSession(connector=TCPConnector(limit=1)) as session:
            own = Api(session, api.base)
            while not stopping.is_set():
                try:
                    outcomes[(await own.post("/api/v1/tasks", {"title": "t"}, as_=user)).status] += 1
                except ClientError as error:
                    outcomes[type(error).__name__] += 1
                    await asyncio.sleep(0.02)

    running = [asyncio.create_task(client()) for _ in range(clients)]
    await asyncio.sleep(0.5)
    try:
        yield outcomes
    finally:
        stopping.set()
        await asyncio.gather(*running)


async def test_a_rolling_restart_fails_no_request(database_url: str, figure: Figure) -> None:
    async with workers(2, database_url, LOG_LEVEL="WARNING") as (process, api):
        ada = await api.new_user()
        old = set(children(process))
        async with under_load(api, ada, 20) as outcomes:
            process.send_signal(signal.SIGHUP)
            await until(lambda: _all_new(process, old), 20)
            await asyncio.sleep(0.5)
        figure(f"answers by status {dict(outcomes)}")
        assert set(outcomes) == {201}
        total = (await api.get("/api/v1/tasks?limit=1", as_=ada)).body["total"]
        assert total == outcomes[201]
        assert (await shown(api))["todo_worker_deaths_total{}"] == 0
        await ended(process)


async def in_new_connections(api: Api, ask: Callable[[Api], Awaitable[object]], times: int) -> None:
    """Ask many times, each on a connection of its own, so that every worker gets some."""
    for _ in range(times):
        async with ClientSession() as session:
            await ask(Api(session, api.base))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_every_worker(database_url: str, number: signal.Signals) -> None:
    async with workers(2, database_url, DRAIN_SECONDS="1") as (process, api):
        ada = await api.new_user()
        async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Content-Length": "14"}) as begun:
            await asyncio.sleep(0.2)
            process.send_signal(number)
            await asyncio.sleep(0.4)

            async def check(own: Api) -> None:
                ready = await own.get("/health/ready")
                assert (ready.status, ready.body["reason"], ready.headers["Connection"]) == (503, "draining", "close")

            await in_new_connections(api, check, 8)
            await begun.send(b'{"title": "t"}')
            assert (await begun.answer())[0] == 201
        assert await asyncio.wait_for(process.wait(), 10) == 0
        with pytest.raises(ConnectionRefusedError):
            async with connect(api):
                pass


def cpu_seconds(pid: int, *, of_ended: bool = False) -> float:
    """The processor time of a process, or of its children that have ended (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    first = 13 if of_ended else 11
    return sum(map(int, fields[first : first + 2])) / os.sysconf("SC_CLK_TCK")


async def test_processor_time_and_memory_are_those_of_all_processes(database_url: str) -> None:
    async with workers(3, database_url) as (process, api):
        for _ in range(2):
            everybody = [process.pid, *children(process)]
            before = sum(map(cpu_seconds, everybody)) + cpu_seconds(process.pid, of_ended=True)
            told = await shown(api)
            after = sum(map(cpu_seconds, everybody)) + cpu_seconds(process.pid, of_ended=True)
            assert before - 0.001 <= told["process_cpu_seconds_total{}"] <= after + 0.001
            pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in everybody)
            assert told["process_resident_memory_bytes{}"] == pytest.approx(pages * 4096, rel=0.1)
            opened = max(len([*Path(f"/proc/{pid}/fd").iterdir()]) for pid in everybody)
            assert abs(told["process_open_fds{}"] - opened) <= 5
            assert told["process_start_time_seconds{}"] < time.time()
            assert [name for name in told if name.startswith("python_info{")]
            os.kill(children(process)[0], signal.SIGKILL)  # its time stays in the sum
            await until(lambda: serving(process, 3))
            await until(lambda: _at_work(api, 3))
            assert (await shown(api))["process_cpu_seconds_total{}"] >= told["process_cpu_seconds_total{}"]


async def test_a_second_signal_ends_it_at_once(database_url: str) -> None:
    async with workers(2, database_url, DRAIN_SECONDS="60") as (process, _):
        process.terminate()
        await asyncio.sleep(0.3)
        process.terminate()
        await asyncio.wait_for(process.wait(), 5)


async def test_no_signal_waits_for_a_rolling_restart(database_url: str) -> None:
    """Not the first, which tells all to drain, and not the second, while fresh workers do not get to serve."""
    async with workers(2, database_url) as (process, _):
        old = set(children(process))
        process.send_signal(signal.SIGHUP)
        await until(lambda: serving(process, 4))
        stopped = set(children(process)) - old
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            process.terminate()
            await until(lambda: _gone(old), 5)
            assert process.returncode is None
            process.terminate()
            await asyncio.wait_for(process.wait(), 2)
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


async def _gone(pids: Iterable[int]) -> bool:
    return all(is_gone(str(pid)) for pid in pids)


async def test_sigquit_ends_workers_that_have_just_begun_too(database_url: str) -> None:
    async with workers(2, database_url, DRAIN_SECONDS="60") as (process, _):
        process.send_signal(signal.SIGTTIN)
        await until(lambda: serving(process, 3))
        process.send_signal(signal.SIGQUIT)
        assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_a_worker_that_dies_is_replaced_at_once_while_others_drain(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        async with workers(2, database_url, output=output, DRAIN_SECONDS="60") as (process, _):
            old = set(children(process))
            process.send_signal(signal.SIGHUP)

            async def drain() -> bool:
                return log.read_bytes().count(b'"event":"draining"') == 2

            await until(drain)
            victim, kept = set(children(process)) - old
            os.kill(victim, signal.SIGKILL)
            await until(lambda: _gone([victim]))
            await until(lambda: serving(process, 4), 3)
            assert set(children(process)) > old | {kept}
            process.send_signal(signal.SIGQUIT)
            assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_workers_end_with_a_parent_that_was_killed(database_url: str) -> None:
    async with workers(2, database_url) as (process, _):
        orphans = children(process)
        process.kill()
        await process.wait()

        await until(lambda: _gone(orphans), 10)


async def test_broken_http_and_the_log(database_url: str) -> None:
    """Our own runner, not aiohttp's, and one format for all that is logged."""
    async with workers(2, database_url, RATE_LIMIT_ENABLED="true") as (process, api):
        async with connect(api) as connection:
            await connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            assert (await connection.answer())[1]["type"] == "/problems/bad-request"
        entries = await ended(process)
    assert any(entry["event"] == "limits_are_per_worker" and entry["level"] == "warning" for entry in entries)
    assert sum(entry["event"] == "stopped" for entry in entries) == 2


@contextmanager
def swept_away(process: Process) -> Iterator[None]:
    """Meanwhile the folder for metric files is gone, so no worker can start."""
    (folder,) = folders(process)
    away = folder.with_name(folder.name.replace(multiprocess_metrics.PREFIX, "away-"))
    folder.rename(away)
    try:
        yield
    finally:
        away.rename(folder)


async def test_a_rolling_restart_whose_workers_cannot_start_leaves_the_old_ones(database_url: str) -> None:
    async with workers(2, database_url, LOG_LEVEL="WARNING") as (process, api):
        ada, old = await api.new_user(), set(children(process))
        async with under_load(api, ada, 5) as outcomes:
            with swept_away(process):
                process.send_signal(signal.SIGHUP)
                await asyncio.sleep(3)
                assert set(children(process)) == old
            process.send_signal(signal.SIGHUP)
            await until(lambda: _all_new(process, old), 20)
        assert set(outcomes) == {201}
        entries = await ended(process)
    assert any(entry.get("detail") == "the new workers do not serve: the old ones go on" for entry in entries)


async def test_a_rolling_restart_that_loses_one_new_worker_keeps_every_old_one(database_url: str) -> None:
    async with workers(2, database_url, LOG_LEVEL="WARNING") as (process, api):
        old = set(children(process))
        process.send_signal(signal.SIGHUP)
        while not (new := set(children(process)) - old):
            await asyncio.sleep(0.01)
        os.kill(new.pop(), signal.SIGKILL)  # long before it can serve

        async def only_old() -> bool:
            return set(children(process)) == old

        await until(only_old, 20)
        assert (await api.get("/health/live")).status == 200
        entries = await ended(process)
    assert any(entry.get("detail") == "the new workers do not serve: the old ones go on" for entry in entries)


async def _all_new(process: Process, old: set[int]) -> bool:
    now = set(children(process))
    return len(now) == 2 and not now & old
