"""Three times as many requests as can be served: is as much answered as before, and is the rest refused at once?

The requests of the first part come as fast as they are answered; those of the second at a fixed rate, whatever becomes
of those before. Both are lists of twenty tasks after no change.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from tests.client import Api, User
from tests.process import served
from todo_service import embedded, migrations

SECONDS = 8
CLIENTS, CROWD = 50, 900
TIMES = 3
GOODPUT, REFUSAL = 0.8, 0.1


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """Send it and read the whole answer; its status."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]))
    return int(head[9:12])


class Load:
    """Connections that ask again and again; statuses and seconds of the answers."""

    def __init__(self, api: Api, user: User) -> None:
        url = urlsplit(api.base)
        self.place = (url.hostname, url.port)
        self.request = (
            f"GET /api/v1/tasks?limit=20 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {user.token}\r\n\r\n"
        ).encode()
        self.seconds: dict[int, list[float]] = {200: [], 503: []}

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
            status = await answered(reader, writer, self.request)
            self.seconds.setdefault(status, []).append(time.monotonic() - started)
            due += pause
            if pause:
                await asyncio.sleep(max(0, due - time.monotonic()))
        writer.close()

    def figures(self, title: str) -> tuple[float, float]:
        """Print them; the answers a second and the seconds that 95 % of the refusals stay below."""
        good, refused = self.seconds[200], self.seconds[503]
        slow = statistics.quantiles(good, n=20)[-1]
        refusal = statistics.quantiles(refused, n=20)[-1] if len(refused) > 1 else 0.0
        others = sum(len(seconds) for status, seconds in self.seconds.items() if status not in {200, 503})
        print(f"  {title:28} {len(good) / SECONDS:7.0f} answered a second, p95 {slow * 1000:6.0f} ms;"
              f" {len(refused) / SECONDS:6.0f} refused, p95 {refusal * 1000:5.0f} ms; others {others}")  # fmt: skip
        return len(good) / SECONDS, refusal


async def run() -> bool:
    """Print the figures; True if goodput and refusals hold."""
    with tempfile.TemporaryDirectory() as folder, embedded.running(Path(folder) / "postgres") as url:
        db = await asyncpg.connect(url)
        await migrations.up(db, migrations.find())
        await db.close()
        async with served(DATABASE_URL=url, LOG_LEVEL="WARNING") as (_, api):
            ada = await api.new_user()
            for number in range(20):
                await api.post("/api/v1/tasks", {"title": f"task {number}"}, as_=ada)
            loads = [Load(api, ada) for _ in range(3)]
            await loads[0].run(CLIENTS, 0)
            peak, _ = loads[0].figures(f"{CLIENTS} clients")
            await loads[1].run(CROWD, TIMES * peak)
            goodput, refusal = loads[1].figures(f"{TIMES} times that rate")
            await loads[2].run(CLIENTS, 0)
            loads[2].figures(f"{CLIENTS} clients afterwards")
    print(f"  goodput {goodput / peak:.2f} (at least {GOODPUT}), refusals {refusal:.3f} s (at most {REFUSAL})")
    return goodput >= GOODPUT * peak and refusal <= REFUSAL
