"""Paths as clients write them: below the prefix that a proxy in front of the service takes off."""

from aiohttp import web

from todo_service import static_files
from todo_service.config.settings import SETTINGS
from todo_service.config.trusted_proxies import forwarded_prefix
from todo_service.wire.pages import Site

HEADER = "X-Forwarded-Prefix"


def prefix(request: web.Request) -> str:
    """Return the prefix of the request's path at the proxy, such as `/todo`; empty without one.

    It is `ROOT_PATH`, or the `X-Forwarded-Prefix` of a trusted proxy.
    """
    settings = request.app[SETTINGS]
    if settings.root_path or HEADER not in request.headers:
        return settings.root_path
    return forwarded_prefix(request.remote, request.headers.getall(HEADER), settings.trusted_proxies)


def public_path(request: web.Request, path: str) -> str:
    """Return the path that a client of this request writes for one of the service: `path` below the prefix."""
    return prefix(request) + path


def site(request: web.Request) -> Site:
    """Return the common parts of the pages, for a client of this request."""
    icon, style = static_files.read(static_files.ICON).path, static_files.read(static_files.STYLE).path
    return Site(request.app[SETTINGS].app_name, prefix(request), icon, style)
