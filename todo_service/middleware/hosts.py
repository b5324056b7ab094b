"""The hosts that the service answers for: outside development those of `ALLOWED_HOSTS`."""

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from todo_service.config import allowlists
from todo_service.config.settings import SETTINGS
from todo_service.errors import MisdirectedRequest
from todo_service.observability import tracing
from todo_service.routes.table import matched_row

BaseHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@web.middleware
async def check_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raise `MisdirectedRequest` unless every host that the request names is allowed. Probes ask by address."""
    row = matched_row(request)
    if row is None or not row.vital:
        hosts = {request.host, *request.headers.getall(hdrs.HOST, [])}  # the first is the target's, where it has one
        if not all(allowlists.matches_host(request.app[SETTINGS].hosts, host) for host in hosts):
            raise MisdirectedRequest
    return await handler(request)


def with_readable_host(handler: BaseHandler) -> BaseHandler:
    """Return a handler that refuses a `Host` that is no host with 400. The instrumentation of OpenTelemetry, which runs
    before every middleware of ours, would fail over it; without it nothing parses the host.
    """
    if not tracing.IS_INSTALLED:
        return handler

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            request.url  # noqa: B018
        except ValueError:
            raise web.HTTPBadRequest from None
        return await handler(request)

    return handle
