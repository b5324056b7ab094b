"""Answers, so that handlers read aloud."""

from typing import Any

from aiohttp import web

from todo_service.wire import codec

PRIVATE = {"Cache-Control": "private, no-cache"}
SECRET = {"Cache-Control": "no-store", "Pragma": "no-cache"}
RETRY = {"Retry-After": "2"}


def json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return written(codec.dump(value), status=status, headers=headers)


def written(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer that is JSON already."""
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def html(text: str, *, policy: str, headers: dict[str, str] | None = None) -> web.Response:
    """A page, for which a browser may load and run what `policy` says."""
    return web.Response(
        text=text, content_type="text/html", headers={"Content-Security-Policy": policy, **(headers or {})}
    )


def not_modified(tag: str) -> web.Response:
    """304: the caller has the answer with this tag already."""
    return web.Response(status=304, headers=PRIVATE | {"ETag": tag})


def nothing() -> web.Response:
    """204: done, and there is nothing to say."""
    return web.Response(status=204)
