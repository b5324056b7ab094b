"""CORS: aiohttp-cors decides which pages of other origins may read our answers, for `CORS_ORIGINS` alone.

aiohttp-cors knows single resources. `_Everywhere` applies it to every request, including those that no route matches;
`answer_options` lets it answer preflights and gives its answers the form of this service.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import hdrs, web
from aiohttp_cors import CorsConfig, ResourceOptions
from aiohttp_cors.abc import AbstractRouterAdapter

from todo_service.config.allowlists import ANY, HEADER_NAME
from todo_service.config.settings import SETTINGS
from todo_service.errors import PreflightRefused

MAX_AGE = 2 * 60 * 60  # seconds for which a browser may cache a preflight; Chromium caches no longer
EXPOSED = (
    "ETag", "X-Request-ID", "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining",
    "X-RateLimit-Reset", "Retry-After", "Link", "X-Total-Count", "Location", "Idempotency-Replayed",
    "Content-Disposition", "WWW-Authenticate", "Preference-Applied",
)  # fmt: skip
MAX_ASKED = 50  # headers of one preflight
ACCEPTED = (
    "Accept", "Accept-Language", "Authorization", "Cache-Control", "Content-Language", "Content-Type",
    "Idempotency-Key", "If-Match", "If-None-Match", "Pragma", "Prefer", "X-Request-ID", "X-Requested-With",
)  # fmt: skip
PREFLIGHT_VARY = f"{hdrs.ACCESS_CONTROL_REQUEST_METHOD}, {hdrs.ACCESS_CONTROL_REQUEST_HEADERS}"

Config = Mapping[str, ResourceOptions]
Preflight = Callable[[web.Request], Awaitable[web.Response]]


class _Everywhere(AbstractRouterAdapter):
    """Applies one configuration to every path, and finds the methods of a path."""

    preflight: Preflight

    def __init__(self, config: Config) -> None:
        self._config = config

    def add_preflight_handler(self, routing_entity: object, handler: Preflight, webview: bool = False) -> None:
        self.preflight = handler

    def set_config_for_routing_entity(self, routing_entity: object, config: object) -> None:
        """Ignore it: there is one configuration for all."""

    def is_preflight_request(self, request: web.Request) -> bool:
        return is_preflight(request)

    def is_cors_enabled_on_request(self, request: web.Request) -> bool:
        return True

    async def get_preflight_request_config(self, request: web.Request, origin: str, requested_method: str) -> Config:
        """Raises `KeyError` for a method that the path does not have."""
        if requested_method not in (methods_of_path(request) or ()):
            raise KeyError(requested_method)
        return self.get_non_preflight_request_config(request)

    def get_non_preflight_request_config(self, request: web.Request) -> Config:
        return self._config if len(request.headers.getall(hdrs.ORIGIN, [])) == 1 else {}


CORS = web.AppKey("cors", _Everywhere)


def set_up(app: web.Application) -> None:
    """Let aiohttp-cors decide on every answer of the application, if `CORS_ORIGINS` names any origin."""
    if app[SETTINGS].cors_origins:
        headers = app[SETTINGS].cors_allow_headers
        everywhere = _Everywhere({origin: _options(origin, headers) for origin in app[SETTINGS].cors_origins})
        CorsConfig(app, router_adapter=everywhere).add(app.router)
        app[CORS] = everywhere


async def answer_options(request: web.Request) -> web.Response | None:
    """Answer OPTIONS on every path there is: with its methods, and for a preflight with the methods and headers for
    pages.

    None for other requests. Credentials are not read: browsers send preflights without them.

    Raises:
        PreflightRefused: The page's origin, method or headers are not allowed.
    """
    if request.method == hdrs.METH_OPTIONS and request.raw_path == "*":  # about the server (RFC 9110 section 9.3.7)
        return web.Response(status=204)
    methods = methods_of_path(request) if request.method == hdrs.METH_OPTIONS else None
    if methods is None:
        return None
    if not is_preflight(request):
        return web.Response(status=204, headers={hdrs.ALLOW: ", ".join(sorted({*methods, hdrs.METH_OPTIONS}))})
    if CORS not in request.app:
        raise PreflightRefused
    try:
        granted = await request.app[CORS].preflight(request)
    except web.HTTPForbidden:
        raise PreflightRefused from None
    return _completed(granted, methods, _asked_headers(request))


def is_preflight(request: web.Request) -> bool:
    """Return whether a browser asks for a page's permission to send a request (Fetch, section 3.2.2)."""
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ORIGIN in request.headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


def methods_of_path(request: web.Request) -> Sequence[str] | None:
    """Return the methods of an OPTIONS request's path; None if there is no such path."""
    error = request.match_info.http_exception
    return sorted(error.allowed_methods) if isinstance(error, web.HTTPMethodNotAllowed) else None


def _options(origin: str, headers: Sequence[str]) -> Any:
    """Return what pages of an origin may do. Any header is granted unless `headers` name those that are.

    A header gives a page no right: the server decides by the credential, and by the origin, who reads the answer.
    """
    options = ResourceOptions(  # type: ignore[no-untyped-call]
        allow_credentials=origin != ANY,
        expose_headers=EXPOSED,
        allow_headers="*" if ANY in headers else (*ACCEPTED, *headers),
        max_age=MAX_AGE,
    )
    return options._replace(expose_headers=EXPOSED)  # a set would come out in another order in each process


def _asked_headers(request: web.Request) -> list[str]:
    """Return the headers that a preflight asks for and that are not granted anyway. They have been allowed."""
    known = {name.lower() for name in ACCEPTED}
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "").split(",")
    names = dict.fromkeys(name.strip().lower() for name in asked if HEADER_NAME.fullmatch(name.strip()))
    return [name for name in names if name not in known][:MAX_ASKED]


def _completed(granted: web.Response, methods: Sequence[str], asked: Sequence[str]) -> web.Response:
    """The grant for one method and some headers, extended to the whole path: then one preflight is enough."""
    granted.set_status(204)
    granted.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = ", ".join(methods)
    granted.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = ", ".join((*ACCEPTED, *asked))
    granted.headers[hdrs.ALLOW] = ", ".join(sorted({*methods, hdrs.METH_OPTIONS}))
    granted.headers[hdrs.VARY] = PREFLIGHT_VARY
    return granted
