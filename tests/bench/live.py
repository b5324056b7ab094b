"""Streams of events: the memory of 2,000 of them, reads beside them, and the seconds from a change to its event."""

import asyncio
import itertools
import re
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

from tests.bench.memory import megabytes
from tests.bench.peers import PRODUCT_SETTINGS, data, load
from tests.bench.peers.data import SHORT
from tests.process import served
from todo_service.postgres import embedded

STREAMS, OF_USER = 2_000, 10
WRITERS, PAUSE, SECONDS = 50, 1.0, 20.0  # a writer writes once a second
KILOBYTES, SLOWER, SAME_WORKER, OTHER_WORKER = 12.0, 1.1, 0.15, 1.3
ROUNDS, READ_SECONDS = 5, 3.0
_UPDATED = re.compile(rb'"updated_at":"([^"]+)Z"')


class _Stream(asyncio.Protocol):
    """An open stream: `on_event` is called with the bytes of each event."""

    def __init__(self, request: bytes, on_event: Callable[[bytes], None]) -> None:
        self._request = request
        self._on_event = on_event
        self._received = b""
        self._is_first = True
        self.is_open = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._is_first and not data.startswith(b"HTTP/1.1 200"):
            self.is_open.set_exception(RuntimeError(data.decode(errors="replace")))
        self._is_first = False
        self._received += data
        *events, self._received = re.split(rb"\r?\n\r?\n", self._received)
        for event in events:
            if b"data: " in event:
                if not self.is_open.done():
                    self.is_open.set_result(None)  # the tasks that are there
                else:
                    self._on_event(event)


def _ignore(_: bytes) -> None:
    pass


@asynccontextmanager
async def _streams(port: int, users: list[str], on_event: Callable[[bytes], None] = _ignore) -> AsyncIterator[None]:
    """Streams of these users, each from an address that has few of them."""
    loop, transports = asyncio.get_running_loop(), []
    for number, user in enumerate(users):
        request = data.request("GET", "/api/v1/events", data.product_token(user))
        transport, stream = await loop.create_connection(
            partial(_Stream, request, on_event),
            "127.0.0.1", port, local_addr=(f"127.0.1.{1 + number % 250}", 0),
        )  # fmt: skip
        transports.append(transport)
        await asyncio.wait_for(stream.is_open, 30)
    yield
    for transport in transports:
        transport.abort()


async def run() -> bool:
    """Print the figures; True if all keep their bounds."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    settings = PRODUCT_SETTINGS | {"LOG_LEVEL": "WARNING"}
    with tempfile.TemporaryDirectory() as folder, embedded.running(Path(folder) / "postgres") as url:
        await data.fill_product(url, (SHORT,))
        async with served(DATABASE_URL=url, **settings) as (process, api):
            port = int(api.base.rpartition(":")[2])
            figures = await _idle(port, process.pid)
            async with served(DATABASE_URL=url, **settings) as (_, other):
                figures["same worker, seconds"] = await _lag(port, port), SAME_WORKER
                figures["another worker, seconds"] = await _lag(port, int(other.base.rpartition(":")[2])), OTHER_WORKER
    for name, (value, bound) in figures.items():
        print(f"  {name:32} {value:8.3f} (at most {bound:g})", flush=True)
    return all(value <= bound for value, bound in figures.values())


async def _idle(port: int, pid: int) -> dict[str, tuple[float, float]]:
    """Open idle streams; return their memory, and the processor time of reads beside them."""
    reader = SHORT.user_id(STREAMS // OF_USER)
    reads = [data.request("GET", "/api/v1/tasks?limit=20", data.product_token(reader))]
    await load.run(port, reads, expected={200}, seconds=READ_SECONDS, connections=8)
    alone = [await _cost(port, pid, reads) for _ in range(ROUNDS)]
    before = megabytes(pid)
    users = [SHORT.user_id(number // OF_USER) for number in range(STREAMS)]
    async with _streams(port, users):
        await asyncio.sleep(2)
        kilobytes = (megabytes(pid) - before) * 1024 / STREAMS
        beside = [await _cost(port, pid, reads) for _ in range(ROUNDS)]
    ratio = statistics.median(beside) / statistics.median(alone)
    return {"kilobytes a stream": (kilobytes, KILOBYTES), "a read beside them, times": (ratio, SLOWER)}


async def _cost(port: int, pid: int, reads: list[bytes]) -> float:
    """Return the processor seconds of the service for one read."""
    started = _processor(pid)
    answers = await load.run(port, reads, expected={200}, seconds=READ_SECONDS, connections=8)
    assert not answers.errors
    return (_processor(pid) - started) / answers.count


def _processor(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def _lag(port: int, writing_port: int) -> float:
    """Return the 95th percentile of the seconds from a change to its event, as its reader has it."""
    lags: list[float] = []

    def note(event: bytes) -> None:
        now = time.time()
        lags.extend(now - datetime.fromisoformat(f"{moment.decode()}+00:00").timestamp()
                    for moment in _UPDATED.findall(event))  # fmt: skip

    users = [SHORT.user_id(number) for number in range(WRITERS)]

    async def write(number: int) -> None:
        await asyncio.sleep(PAUSE * number / WRITERS)
        for step in itertools.count():
            token, body = data.product_token(users[number]), {"title": f"lag {step}"}
            await load.one(writing_port, data.request("POST", "/api/v1/tasks", token, body=body))
            await asyncio.sleep(PAUSE)

    async with _streams(port, users, note):
        lags.clear()
        writers = [asyncio.create_task(write(number)) for number in range(WRITERS)]
        await asyncio.sleep(SECONDS)
        for writer in writers:
            writer.cancel()
        results = await asyncio.gather(*writers, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results), results
    assert len(lags) > WRITERS
    return statistics.quantiles(lags, n=20)[18]
