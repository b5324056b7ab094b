"""The load: connections that send prepared requests one after the other and count the answers.

It does as little as can be done, because it takes its time from the servers'.
"""

import asyncio
import itertools
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
WITHOUT_BODY = {204, 304}


@dataclass
class Load:
    """The answers to a load: seconds of each good one, and the number of the others."""

    expected: frozenset[int]
    seconds: list[float] = field(default_factory=list)
    errors: int = 0

    @property
    def count(self) -> int:
        """All answers."""
        return len(self.seconds) + self.errors


class _Connection(asyncio.Protocol):
    """Sends the next request when the last one is answered, not before `pause` seconds after it was due."""

    transport: asyncio.Transport

    def __init__(self, load: Load, requests: Iterator[bytes], until: float, pause: float) -> None:
        self.load = load
        self.requests = requests
        self.until = until
        self.pause = pause
        self.received = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.load.errors += 1
            self.ended.set_result(None)

    def begin(self, delay: float) -> None:
        self.due = time.perf_counter() + delay
        asyncio.get_running_loop().call_later(delay, self.send)

    def send(self) -> None:
        self.sent = time.perf_counter()
        if self.sent < self.until:
            self.transport.write(next(self.requests))
        elif not self.ended.done():
            self.ended.set_result(None)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.received = self.received + data if self.received else data
        head = self.received.find(b"\r\n\r\n")
        if head < 0:
            return
        status = int(self.received[9:12])
        if status not in WITHOUT_BODY:
            length = LENGTH.search(self.received, 0, head + 2)
            if length is None or len(self.received) < head + 4 + int(length[1]):
                return
        self.received = b""
        now = time.perf_counter()
        if status in self.load.expected:
            self.load.seconds.append(now - self.sent)
        else:
            self.load.errors += 1
        self.due += self.pause
        if self.pause and self.due > now:
            asyncio.get_running_loop().call_later(self.due - now, self.send)
        else:
            self.send()


async def run(
    port: int, requests: Iterable[bytes], *, expected: Iterable[int], seconds: float, connections: int, rate: float = 0
) -> Load:
    """Send the requests in turn for so many seconds: `rate` a second, or with 0 as fast as they are answered."""
    loop, load, turn = asyncio.get_running_loop(), Load(frozenset(expected)), itertools.cycle(requests)
    pause = connections / rate if rate else 0.0
    until = time.perf_counter() + seconds + 0.05
    opened = [
        (await loop.create_connection(lambda: _Connection(load, turn, until, pause), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    for number, connection in enumerate(opened):
        connection.begin(pause * number / connections)
    await asyncio.gather(*(connection.ended for connection in opened))
    return load


async def one(port: int, request: bytes) -> bytes:
    """Send one request, and return the body of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    writer.close()
    return body
