"""Three times as many requests as can be served: is as much answered as before, and is the rest refused at once?

Two workers and a hundred users, of whose requests four in five read a list of twenty tasks and one creates a task. The
requests of the first part come as fast as they are answered; those of the second at a fixed rate, whatever becomes of
those before. What is answered late counts as answered. The service and PostgreSQL have one half of the cores and the
load the other in all parts, so that the greater load takes no more from the service than its requests do.
"""

import asyncio
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import asyncpg

from tests.bench.memory import megabytes
from tests.client import Api, User
from tests.process import served
from todo_service.postgres import embedded, migrations

ROUNDS, CALM_SECONDS, SECONDS = 5, 3, 6
USERS = 100
CLIENTS, CROWD = 50, 900
TIMES = 3
GOODPUT, REFUSAL = 0.8, 0.1
GOOD = {200, 201}
BODY = b'{"title": "one more"}'


def requests_of(user: User) -> tuple[bytes, ...]:
    """Four that read and one that writes, as they are sent."""
    common = f"Host: a\r\nAuthorization: Bearer {user.token}\r\n"
    read = f"GET /api/v1/tasks?limit=20 HTTP/1.1\r\n{common}\r\n".encode()
    about = f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    return (read,) * 4 + (f"POST /api/v1/tasks HTTP/1.1\r\n{common}{about}".encode() + BODY,)


class Connection(asyncio.Protocol):
    """Asks, reads the answer, and asks again, `pause` seconds after it was due to ask before, until it is told to end.

    It does as little as can be done, since it takes its time from the service's.
    """

    transport: asyncio.Transport

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the service has hung up"))

    def begin(self, until: float, pause: float, delay: float) -> None:
        self.until, self.pause, self.due = until, pause, time.monotonic() + delay
        asyncio.get_running_loop().call_later(delay, self.ask)

    def ask(self) -> None:
        self.asked = time.monotonic()
        if self.asked < self.until:
            self.transport.write(next(self.load.requests))
        else:
            self.ended.set_result(None)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.answer = self.answer + data if self.answer else data
        if not is_whole(self.answer):
            return
        status, self.answer = int(self.answer[9:12]), b""
        now = time.monotonic()
        self.load.note(status, now - self.asked)
        self.due += self.pause
        if self.pause and self.due > now:
            asyncio.get_running_loop().call_later(self.due - now, self.ask)
        else:
            self.ask()


def is_whole(answer: bytes) -> bool:
    """Whether its head and as much as that says of its body are there."""
    head = answer.find(b"\r\n\r\n")
    length = answer.find(b"Content-Length: ") + 16
    return head > 0 and len(answer) >= head + 4 + int(answer[length : answer.find(b"\r", length)])


class Load:
    """Connections that ask again and again; the seconds that good and refused answers took, how many were neither."""

    def __init__(self, api: Api, users: list[User]) -> None:
        url = urlsplit(api.base)
        self.host, self.port = url.hostname or "", url.port or 0
        self.requests = itertools.cycle(list(itertools.chain.from_iterable(zip(*map(requests_of, users), strict=True))))
        self.good: list[float] = []
        self.refused: list[float] = []
        self.others = 0

    async def run(self, connections: int, rate: float, seconds: float) -> None:
        """Ask on so many connections, all opened before, `rate` times a second (0: as fast as it goes)."""
        self.seconds = seconds
        loop = asyncio.get_running_loop()
        made = [loop.create_connection(lambda: Connection(self), self.host, self.port) for _ in range(connections)]
        opened = [(await connecting)[1] for connecting in made]
        pause = connections / rate if rate else 0
        until = time.monotonic() + seconds + pause
        for number, connection in enumerate(opened):
            connection.begin(until, pause, pause * number / connections)
        await asyncio.gather(*(connection.ended for connection in opened))

    def note(self, status: int, seconds: float) -> None:
        if status in GOOD:
            self.good.append(seconds)
        elif status == 503:
            self.refused.append(seconds)
        else:
            self.others += 1

    def figures(self, title: str) -> tuple[float, float]:
        """Print them; the answers a second and the seconds that 95 % of the refusals stay below."""
        good, refused = len(self.good) / self.seconds, len(self.refused) / self.seconds
        slow = statistics.quantiles(self.good, n=20)[-1]
        refusal = statistics.quantiles(self.refused, n=20)[-1] if len(self.refused) > 1 else 0.0
        print(f"  {title:28} {good:7.0f} answered a second, p95 {slow * 1000:6.0f} ms;"
              f" {refused:6.0f} refused, p95 {refusal * 1000:5.0f} ms; others {self.others}")  # fmt: skip
        return good, refusal


class Figures(NamedTuple):
    """What several rounds have shown."""

    goodput: float  # the median of the answers a second under overload, of those at the peak just before
    afterwards: float  # the last peak, of the first one
    refusal: float  # seconds that 95 % of the refusals stay below
    others: int  # answers that were neither good nor a refusal
    megabytes: float  # that the workers have grown by


@asynccontextmanager
async def busy_service() -> AsyncIterator[tuple[int, Api, list[User]]]:
    """The process of the service with two workers, and users with twenty tasks each."""
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.sched_setaffinity(0, cores[:half] or cores)  # what is started from here on keeps to it
            with embedded.running(Path(folder) / "postgres") as url:
                db = await asyncpg.connect(url)
                await migrations.up(db, migrations.find())
                await db.close()
                async with served(DATABASE_URL=url, LOG_LEVEL="WARNING", WEB_CONCURRENCY="2") as (process, api):
                    os.sched_setaffinity(0, cores[half:])
                    users = [await api.new_user() for _ in range(USERS)]
                    operations = [{"op": "create", "task": {"title": f"task {number}"}} for number in range(20)]
                    for user in users:
                        await api.post("/api/v1/tasks/batch", {"operations": operations}, as_=user)
                    yield process.pid, api, users
        finally:
            os.sched_setaffinity(0, cores)


async def measure(rounds: int) -> Figures:
    """Overload the service in rounds; print and return the figures.

    The peak is measured anew in each: on a machine with neighbours its speed changes from one moment to the next.
    """
    shares, peaks, refusals, others = [], [], [0.0], 0
    async with busy_service() as (pid, api, users):
        before = 0.0
        for _ in range(rounds):
            calm, busy = Load(api, users), Load(api, users)
            await calm.run(CLIENTS, 0, CALM_SECONDS)
            peaks.append(calm.figures(f"{CLIENTS} clients")[0])
            before = before or workers_megabytes(pid)
            await busy.run(CROWD, TIMES * peaks[-1], SECONDS)
            goodput, refusal = busy.figures(f"{TIMES} times that rate")
            shares.append(goodput / peaks[-1])
            refusals.append(refusal)
            others += calm.others + busy.others
            await asyncio.sleep(1)
        last = Load(api, users)
        await last.run(CLIENTS, 0, CALM_SECONDS)
        afterwards, _ = last.figures(f"{CLIENTS} clients afterwards")
        grown = workers_megabytes(pid) - before
    return Figures(statistics.median(shares), afterwards / peaks[0], max(refusals), others + last.others, grown)


def workers_megabytes(pid: int) -> float:
    """The memory of the child processes that they do not share."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(megabytes(int(child)) for child in children)


async def run() -> bool:
    """Print the figures; True if goodput and refusals hold."""
    figures = await measure(ROUNDS)
    print(f"  goodput {figures.goodput:.2f} (at least {GOODPUT}), refusals {figures.refusal:.3f} s (at most {REFUSAL})")
    return figures.goodput >= GOODPUT and figures.refusal <= REFUSAL and not figures.others
