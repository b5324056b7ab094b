"""Responses of the handlers."""

from collections.abc import AsyncIterable
from typing import Any

from aiohttp import web

from todo_service.wire import codec

PRIVATE = {"Cache-Control": "private, no-cache"}
SECRET = {"Cache-Control": "no-store", "Pragma": "no-cache"}
JSON = {"Content-Type": "application/json"}
RETRY = {"Retry-After": "2"}


class StreamedResponse(web.StreamResponse):
    """A response with a body that is made while it is sent, by `middleware/streaming.py`."""

    def __init__(self, chunks: AsyncIterable[bytes], *, headers: dict[str, str], content_type: str) -> None:
        super().__init__(headers=headers)
        self.chunks = chunks
        self.content_type = content_type
        self.charset = "utf-8"


def json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a JSON response."""
    return json_bytes(codec.dump(value), status=status, headers=headers)


def json_bytes(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a response with a body that is JSON already."""
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def html(text: str, *, policy: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return a page with its Content-Security-Policy."""
    return web.Response(
        text=text, content_type="text/html", headers={"Content-Security-Policy": policy, **(headers or {})}
    )


def not_modified(tag: str) -> web.Response:
    """Return 304 with the tag of the copy that the caller has."""
    return web.Response(status=304, headers=PRIVATE | {"ETag": tag})


def no_content() -> web.Response:
    """Return 204."""
    return web.Response(status=204)
