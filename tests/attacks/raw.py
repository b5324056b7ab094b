"""HTTP exactly as it is written, and everything that comes back."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.client import Api, User
from todo_service.middleware.response_headers import DEFAULTS

PATIENCE = 15
Headers = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Reply:
    """An answer as it came: `headers` with their names in small letters, in order."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name.lower()]

    def one(self, name: str) -> str:
        values = self.all(name)
        assert len(values) == 1, (name, values)
        return values[0]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> str:
        """The name of the problem; the answer has every security header and repeats nothing of the server."""
        assert self.one("content-type") == "application/problem+json"
        document = self.json
        assert document["status"] == self.status
        assert document["request_id"] == self.one("x-request-id")
        self.assert_safe()
        return str(document["type"].removeprefix("/problems/"))

    def assert_safe(self) -> None:
        """Every answer has the security headers and names no versions."""
        for name in set(DEFAULTS) - {"Cache-Control", "Content-Security-Policy"}:
            assert self.one(name) == DEFAULTS[name]
        assert self.one("server") == "todo-service"
        assert b"Traceback" not in self.body
        assert b"aiohttp" not in self.body


async def exchange(api: Api, data: bytes, *, until_closed: bool = False) -> list[Reply]:
    """The answers to these bytes: the first, or all until the service closes the connection."""
    url = urlsplit(api.base)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    replies: list[Reply] = []
    try:
        writer.write(data)
        while not replies or until_closed:
            reply = await asyncio.wait_for(_read(reader), PATIENCE)
            if reply is None:
                break
            replies.append(reply)
    except ConnectionError:
        pass  # the service cut it; what came before is the answer
    finally:
        writer.close()
    return replies


async def _read(reader: asyncio.StreamReader) -> Reply | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    found = dict(headers)
    status = int(first.split(" ")[1])
    body = b""
    if "content-length" in found and status not in {204, 304}:
        body = await reader.readexactly(int(found["content-length"]))
    elif found.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    return Reply(status, headers, body)


def request(
    method: str, path: str, headers: Headers = (), body: bytes = b"", *, version: str = "HTTP/1.1", host: str = "test"
) -> bytes:
    """The bytes of a request, with a length if there is a body."""
    lines: list[bytes] = [f"{method} {path} {version}".encode("latin-1")]
    lines += [f"Host: {host}".encode("latin-1")] * bool(host)
    for name, value in headers:
        lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode("latin-1")))
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


async def ask(
    api: Api,
    method: str,
    path: str,
    headers: Headers = (),
    body: bytes = b"",
    *,
    as_: User | None = None,
    **options: str,
) -> Reply:
    """The answer to one request. A body is JSON unless the headers say something else."""
    sent = list(headers)
    if as_ is not None:
        sent.append(("Authorization", f"Bearer {as_.token}"))
    if body and not any(name.lower() == "content-type" for name, _ in sent):
        sent.append(("Content-Type", "application/json"))
    replies = await exchange(api, request(method, path, sent, body, **options))
    assert replies, "the connection was closed without an answer"
    return replies[0]


async def post(api: Api, path: str, body: Any, headers: Headers = (), *, as_: User | None = None) -> Reply:
    """The answer to a POST of JSON, or of bytes as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await ask(api, "POST", path, headers, raw, as_=as_)
