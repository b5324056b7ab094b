"""Headers of every answer, whatever made it: set at the last moment, when an answer is about to be sent."""

from collections.abc import MutableMapping

from aiohttp import hdrs, web

from todo_service.auth.rate_limiting import USAGE
from todo_service.config.settings import SETTINGS, Settings
from todo_service.limits.load import LIFE
from todo_service.middleware.request_id import HEADER, named

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",  # is about images and scripts of other pages: CORS goes before it
}
HTTPS_ONLY = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}
CREDENTIALS = ("Authorization", "X-Service-Auth", "X-User-ID")


async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Give the answer its request id, the state of its limit and the security headers; what a handler set stays."""
    if request.app[LIFE].draining:
        response.force_close()
        response.headers["Connection"] = "close"
    if USAGE in request:
        response.headers.update(request[USAGE].headers)
    complete(response.headers, request.app[SETTINGS], named(request))


def complete(headers: MutableMapping[str, str], settings: Settings, request_id: str) -> None:
    """Add what every answer carries."""
    headers[HEADER] = request_id
    headers["Server"] = "todo-service"  # aiohttp's own names every version
    for name, value in SECURITY.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")
    if settings.in_production:
        headers.update(HTTPS_ONLY)
    _vary(headers, settings)


def _vary(headers: MutableMapping[str, str], settings: Settings) -> None:
    """Name what the answer depends on, so that no cache gives it to another caller or page."""
    depends = [*CREDENTIALS] if headers["Cache-Control"].startswith("private") else []
    if settings.cors_origins:
        depends.append(hdrs.ORIGIN)
    named = headers.get(hdrs.VARY, "")
    known = {name.strip().lower() for name in named.split(",")}
    missing = [name for name in depends if name.lower() not in known]
    if missing:
        headers[hdrs.VARY] = ", ".join([named, *missing] if named else missing)
