"""A database reached through a proxy that freezes, cuts, counts and edits, and what tests of the pool need besides."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from urllib.parse import quote

from todo_service.config import database_url
from todo_service.config.database_options import database_options
from todo_service.config.settings import Settings
from todo_service.postgres.database import Database

Edit = Callable[[bytes], bytes]
REPLY = b"to the client: "
PROTOCOL = struct.pack("!hh", 3, 0)


class Proxy:
    """A TCP server on loopback before PostgreSQL. `turns` counts messages to the server that waited for its answer."""

    def __init__(self, url: str, *, to_server: Edit = bytes, to_client: Edit = bytes) -> None:
        self.target = database_url.parse(url)
        self.edits = to_server, to_client
        self.turns = 0
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = free_port()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, *hosts: str, query: str = "", password: str | None = None, name: str | None = None) -> str:
        user, secret = self.target.user or "", password or self.target.password or ""
        database_name = name or self.target.database or ""
        return f"postgres://{quote(user)}:{quote(secret)}@{','.join(hosts or (self.address,))}/{database_name}?{query}"

    async def __aenter__(self) -> "Proxy":
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.close()
        self.cut()
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        await self.server.wait_closed()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self.writers.add(writer)
        with suppress(OSError, RuntimeError, asyncio.CancelledError):  # uvloop's word for a closed transport
            upstream_reader, upstream = await self.upstream()
            self.writers.add(upstream)
            await asyncio.gather(self.ask(reader, upstream, writer), self.answer(upstream_reader, writer))
        writer.transport.abort()

    async def upstream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.target.hosts[0]
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def ask(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            await self.thawed.wait()
            self.turns += 1
            edited = self.edits[0](data)
            (client if edited.startswith(REPLY) else upstream).write(edited.removeprefix(REPLY))
        upstream.transport.abort()

    async def answer(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.thawed.wait()
            client.write(self.edits[1](data))
        client.transport.abort()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port where nobody listens, nor can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **{"database_pool_min": 0, **values})


@asynccontextmanager
async def opened(url: str, names: dict[str, str] | None = None, **values: Any) -> AsyncIterator[Database]:
    instance = Database(database_options(settings(database_url=url, **values)), statement_names=names or {})
    await instance.open()
    try:
        yield instance
    finally:
        await instance.close()


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 10) -> None:
    """Wait for what is to become true, and fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0.02)
