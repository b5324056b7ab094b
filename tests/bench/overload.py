"""Three times as many requests as can be served: is as much answered as before, and is the rest refused at once?

Two workers and a hundred users, of whose requests four in five read a list of twenty tasks and one creates a task. The
requests of the first part come as fast as they are answered; those of the second at a fixed rate, whatever becomes of
those before. What is answered late counts as answered.
"""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from tests.client import Api, User
from tests.process import served
from todo_service import embedded, migrations

SECONDS = 10
USERS = 100
CLIENTS, CROWD = 50, 900
TIMES = 3
GOODPUT, REFUSAL = 0.8, 0.1
GOOD = {200, 201}
BODY = b'{"title": "one more"}'

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """Send it and read the whole answer; its status."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]))
    return int(head[9:12])


def requests_of(user: User) -> tuple[bytes, ...]:
    """Four that read and one that writes, as they are sent."""
    common = f"Host: a\r\nAuthorization: Bearer {user.token}\r\n"
    read = f"GET /api/v1/tasks?limit=20 HTTP/1.1\r\n{common}\r\n".encode()
    about = f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    return (read,) * 4 + (f"POST /api/v1/tasks HTTP/1.1\r\n{common}{about}".encode() + BODY,)


class Load:
    """Connections that ask again and again; the seconds that good and refused answers took, how many were neither."""

    def __init__(self, api: Api, users: list[User]) -> None:
        url = urlsplit(api.base)
        self.place = (url.hostname, url.port)
        self.requests = itertools.cycle(list(itertools.chain.from_iterable(zip(*map(requests_of, users), strict=True))))
        self.good: list[float] = []
        self.refused: list[float] = []
        self.others = 0

    async def run(self, connections: int, rate: float) -> None:
        """Ask on so many connections, all opened before, `rate` times a second (0: as fast as it goes)."""
        pause = connections / rate if rate else 0
        opened = [await self.connected() for _ in range(connections)]
        until = time.monotonic() + SECONDS + pause
        delays = (pause * number / connections for number in range(connections))
        await asyncio.gather(
            *(self.ask(*streams, until, pause, delay) for streams, delay in zip(opened, delays, strict=True))
        )

    async def connected(self) -> Streams:
        reader, writer = await asyncio.open_connection(*self.place)
        await answered(reader, writer, b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        return reader, writer

    async def ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: float, pause: float, delay: float
    ) -> None:
        await asyncio.sleep(delay)
        due = time.monotonic()
        while (started := time.monotonic()) < until:
            self.note(await answered(reader, writer, next(self.requests)), time.monotonic() - started)
            due += pause
            if pause:
                await asyncio.sleep(max(0, due - time.monotonic()))
        writer.close()

    def note(self, status: int, seconds: float) -> None:
        if status in GOOD:
            self.good.append(seconds)
        elif status == 503:
            self.refused.append(seconds)
        else:
            self.others += 1

    def figures(self, title: str) -> tuple[float, float]:
        """Print them; the answers a second and the seconds that 95 % of the refusals stay below."""
        good, refused = len(self.good) / SECONDS, len(self.refused) / SECONDS
        slow = statistics.quantiles(self.good, n=20)[-1]
        refusal = statistics.quantiles(self.refused, n=20)[-1] if len(self.refused) > 1 else 0.0
        print(f"  {title:28} {good:7.0f} answered a second, p95 {slow * 1000:6.0f} ms;"
              f" {refused:6.0f} refused, p95 {refusal * 1000:5.0f} ms; others {self.others}")  # fmt: skip
        return good, refusal


@asynccontextmanager
async def busy_service() -> AsyncIterator[tuple[Api, list[User]]]:
    """The service with two workers, and users with twenty tasks each."""
    with tempfile.TemporaryDirectory() as folder, embedded.running(Path(folder) / "postgres") as url:
        db = await asyncpg.connect(url)
        await migrations.up(db, migrations.find())
        await db.close()
        async with served(DATABASE_URL=url, LOG_LEVEL="WARNING", WEB_CONCURRENCY="2") as (_, api):
            users = [await api.new_user() for _ in range(USERS)]
            operations = [{"op": "create", "task": {"title": f"task {number}"}} for number in range(20)]
            for user in users:
                await api.post("/api/v1/tasks/batch", {"operations": operations}, as_=user)
            yield api, users


async def run() -> bool:
    """Print the figures; True if goodput and refusals hold."""
    async with busy_service() as (api, users):
        loads = [Load(api, users) for _ in range(3)]
        await loads[0].run(CLIENTS, 0)
        peak, _ = loads[0].figures(f"{CLIENTS} clients")
        await loads[1].run(CROWD, TIMES * peak)
        goodput, refusal = loads[1].figures(f"{TIMES} times that rate")
        await asyncio.sleep(1)
        await loads[2].run(CLIENTS, 0)
        loads[2].figures(f"{CLIENTS} clients afterwards")
    print(f"  goodput {goodput / peak:.2f} (at least {GOODPUT}), refusals {refusal:.3f} s (at most {REFUSAL})")
    return goodput >= GOODPUT * peak and refusal <= REFUSAL and not any(load.others for load in loads)
