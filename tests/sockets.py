"""HTTP by hand, byte by byte, for what no well-behaved client would send."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.client import Api, User

PATIENCE = 5


class Connection:
    """One TCP connection to the service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.headers: dict[str, str] = {}

    async def send(self, data: bytes) -> None:
        """Send bytes; a connection the service has closed takes none, and that is fine."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            return

    async def line(self) -> str:
        return (await asyncio.wait_for(self.reader.readline(), PATIENCE)).decode("latin-1").rstrip("\r\n")

    async def answer(self) -> tuple[int, Any]:
        """The next answer's status and its JSON body."""
        status = int((await self.line()).split(" ")[1])
        self.headers = {}
        while line := await self.line():
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        raw = await self.reader.readexactly(int(self.headers.get("content-length", "0")))
        return status, json.loads(raw) if raw else None

    async def is_closed(self) -> bool:
        """Whether the service ends the connection, sending nothing more."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENCE) == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def connect(api: Api) -> AsyncIterator[Connection]:
    """A bare connection."""
    url = urlsplit(api.base)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def talk(
    api: Api, method: str, path: str, *, as_: User | None = None, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Connection]:
    """A connection on which the head of a request with a JSON body was sent."""
    lines = [f"{method} {path} HTTP/1.1", "Host: test", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if as_:
        lines.append(f"Authorization: Bearer {as_.token}")
    async with connect(api) as connection:
        await connection.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
        yield connection
