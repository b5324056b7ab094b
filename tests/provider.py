"""An AI provider as far as we know it: it looks at the key in a header, on a real socket, and can misbehave."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

PATH = "/v1beta/models/gemini-2.5-flash:generateContent"
GOOD = "AIzaSy-canary-api-key-good-0123456789ab"
OTHER_GOOD = "AIzaSy-canary-api-key-other-987654321xy"
SPENT = "AIzaSy-canary-api-key-spent-0123456789z"
BAD = "AIzaSy-canary-api-key-wrong-0123456789c"
KEYS = (GOOD, OTHER_GOOD, SPENT, BAD)
REFUSED = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AiProvider:
    """Takes the good keys, refuses others; counts and keeps what it is asked. Set `answer` to let it misbehave."""

    def __init__(self) -> None:
        self.answer: Answer = self.judge
        self.url = ""
        self.asked: list[str] = []
        self.elsewhere = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_post(PATH, self._take)
        app.router.add_route("*", "/{path:.*}", self._stray)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Go away."""
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        assert await request.json() == {"contents": [{"parts": [{"text": "hi"}]}]}
        assert request.content_type == "application/json"
        assert not request.query_string
        self.asked.append(request.headers["x-goog-api-key"])
        return await self.answer(request)

    async def _stray(self, _: web.Request) -> web.StreamResponse:
        self.elsewhere += 1
        return web.json_response({"candidates": []})

    async def judge(self, request: web.Request) -> web.StreamResponse:
        """What the provider says of good, spent and all other keys."""
        key = request.headers["x-goog-api-key"]
        if key in {GOOD, OTHER_GOOD} or key.startswith("AIza-load-"):
            return web.json_response({"candidates": [{"content": {"parts": [{"text": "Hello!"}]}}]})
        if key == SPENT:
            return problem(429, "RESOURCE_EXHAUSTED")
        return problem(400, "INVALID_ARGUMENT", details=[REFUSED])


def problem(status: int, word: str, **others: Any) -> web.Response:
    """A refusal in the provider's own form."""
    error = {"code": status, "message": f"It says {word}.", "status": word, **others}
    return web.json_response({"error": error}, status=status)


def always(status: int, text: str = "{}", **headers: str) -> Answer:
    """The same answer to everybody."""

    async def answer(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=text, headers=named, content_type="application/json")

    return answer


async def slow(_: web.Request) -> web.StreamResponse:
    """An answer that comes too late."""
    await asyncio.sleep(30)
    return web.json_response({})


async def endless(request: web.Request) -> web.StreamResponse:
    """An answer that begins well and has no end; it comes slowly enough to stay below any size for long."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def flood(request: web.Request) -> web.StreamResponse:
    """The same, as fast as it is taken."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def dropped(request: web.Request) -> web.StreamResponse:
    """No answer: the connection ends."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut(request: web.Request) -> web.StreamResponse:
    """Half an answer."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"candidates": [')
    assert request.transport is not None
    request.transport.abort()
    return response


async def bomb(_: web.Request) -> web.StreamResponse:
    """64 MiB of JSON in 64 KiB of gzip, asked for or not."""
    packed = await asyncio.to_thread(gzip.compress, b'{"a": "' + b"a" * 64 * 1024 * 1024 + b'"}')
    return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


def echo(status: int) -> Answer:
    """An answer that repeats the key, as careless servers do."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=json.dumps({"error": dict(request.headers)}), reason=GOOD)

    return answer


@asynccontextmanager
async def ai_provider() -> AsyncIterator[AiProvider]:
    """A running provider."""
    provider = AiProvider()
    await provider.start()
    try:
        yield provider
    finally:
        await provider.stop()
