"""The service about itself: its version, its health, its metrics."""

import asyncio

from aiohttp import hdrs, web
from multidict import CIMultiDict

from todo_service import __version__
from todo_service.auth.access import Access
from todo_service.auth.revocations import REVOCATIONS
from todo_service.config.script_names import named_here
from todo_service.config.settings import SETTINGS
from todo_service.limits.load import LOAD
from todo_service.limits.rate import Limit
from todo_service.limits.shared_work import SharedWork
from todo_service.observability.metrics import METRICS, accepted_format
from todo_service.postgres import migrations, row_security
from todo_service.postgres.database import DATABASE
from todo_service.postgres.failures import is_schema_mismatch, is_unavailable
from todo_service.postgres.migrations import Migration
from todo_service.routes import responses
from todo_service.routes.compression import compressed, wants_gzip
from todo_service.routes.descriptions import describe
from todo_service.routes.public_paths import public_path, site
from todo_service.routes.request_bodies import JSON
from todo_service.routes.table import LIVENESS, Route
from todo_service.wire import codec, pages
from todo_service.wire.metrics import Summary, summary
from todo_service.wire.negotiation import prefers_html
from todo_service.wire.system import Alive, Health, NotReady, Ready, Root, Unhealthy

SERVICE = "todo-backend"
MIGRATIONS = web.AppKey("migrations", tuple[Migration, ...])
BY_ACCEPT = {"Vary": "Accept"}
IN_FORCE = "row-level security hides every task: set ROW_LEVEL_SECURITY=on, or run bin/migrate row-security off"
NOT_IN_FORCE = "row-level security is not in force: run bin/migrate row-security on, and serve as a role without tables"
STATE_SECONDS = 1.0  # how old the state of the database may be
DOCS_LINKS = {"docs": "/docs", "redoc": "/redoc", "openapi": "/openapi.json"}
LINKS = {
    "health": "/health",
    "register": "/api/v1/auth/register",
    "login": "/api/v1/auth/login",
    "tasks": "/api/v1/tasks",
    "problems": "/problems",
}


@describe({200: {JSON: Root, "text/html": str}})
async def read_root(request: web.Request) -> web.Response:
    """Read the name, the version, and links to other addresses: as a page, if `Accept` prefers HTML."""
    settings = request.app[SETTINGS]
    links = (DOCS_LINKS if settings.docs_enabled else {}) | LINKS
    if prefers_html(request.headers.getall(hdrs.ACCEPT, [])):
        page = pages.root(site(request), __version__, links)
        return responses.html(page, policy=pages.READING, headers=BY_ACCEPT)
    links = {name: public_path(request, path) for name, path in links.items()}
    return responses.json({"name": settings.app_name, "version": __version__, "links": links}, headers=BY_ACCEPT)


@describe({200: Health, 503: Unhealthy})
async def read_health(request: web.Request) -> web.Response:
    """Check the service and its database."""
    up = await request.app[STATE].is_up.result()
    document = {
        "status": "healthy" if up else "unhealthy",
        "service": SERVICE,
        "version": __version__,
        "checks": {"database": "up" if up else "down"},
    }
    return responses.json(document, status=200 if up else 503, headers={} if up else responses.RETRY)


@describe({200: Alive})
async def read_live(request: web.Request) -> web.Response:
    """Check that the process can answer."""
    return responses.json({"status": "alive"})


@describe({200: Ready, 503: NotReady})
async def read_ready(request: web.Request) -> web.Response:
    """Check whether to send requests here; if not, the answer has the reason."""
    reason = "draining" if request.app[LOAD].draining else await request.app[STATE].not_ready.result()
    if reason is None:
        return responses.json({"status": "ready"})
    return responses.json({"status": "not ready", "reason": reason}, status=503, headers=responses.RETRY)


@describe({200: {"text/plain": str, "application/openmetrics-text": str, "application/json": Summary}})
async def read_metrics(request: web.Request) -> web.Response:
    """Read the metrics: Prometheus text, OpenMetrics, or a summary in JSON, by `Accept`."""
    accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    is_summary = "application/json" in accept and "text/plain" not in accept and "openmetrics" not in accept
    scrape = request.app[STATE].scrape("json" if is_summary else accepted_format(accept), wants_gzip(request))
    body, headers = await scrape.result()
    return web.Response(body=body, headers=headers)


async def _scrape(app: web.Application, content_type: str, gzip: bool) -> tuple[bytes, CIMultiDict[str]]:
    """Return the body and the headers of a scrape. It takes milliseconds, so a thread does it; one at a time."""
    metrics = app[METRICS]
    metrics.in_flight.set(app[LOAD].in_flight)
    metrics.flush()
    async with app[STATE].scraping:
        if content_type == "json":
            document = await asyncio.to_thread(lambda: summary(metrics.families()))
            return codec.dump(document), CIMultiDict(responses.JSON)
        body = await asyncio.to_thread(metrics.text, content_type)
    headers = CIMultiDict({hdrs.CONTENT_TYPE: content_type, hdrs.VARY: hdrs.ACCEPT})
    return await compressed(body, headers, wanted=gzip), headers


async def _not_ready(app: web.Application) -> str | None:
    try:
        async with app[DATABASE].connection() as db:
            if wrong := await migrations.wrong_encoding(db):
                return wrong
            state = await migrations.state(db, app[MIGRATIONS])
            is_on = app[SETTINGS].row_level_security
            is_as_set = bool(state.pending) or await row_security.is_as_set(db, is_on=is_on)
    except Exception as error:
        if is_schema_mismatch(error):
            return "the tables are not those of this release, or our role may not read them"
        if not is_unavailable(error):
            raise
        return "database down"
    if not is_as_set:
        return named_here(NOT_IN_FORCE if is_on else IN_FORCE)
    if state.incompatible:
        return f"the database has {state.incompatible}, which this release cannot work with: start the newer release"
    if not state.pending and not app[REVOCATIONS].is_loaded:
        return "the revoked tokens have not been read yet"
    return named_here(f"{len(state.pending)} migrations pending: run bin/migrate up") if state.pending else None


class SystemState:
    """The answers of health checks and scrapes, shared by all who ask at once: they need no account, so many can."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        # Only good news is kept: that a database is back is seen at once.
        self.is_up = SharedWork(lambda: app[DATABASE].ping(), seconds=STATE_SECONDS, is_kept=bool)
        self.not_ready = SharedWork(lambda: _not_ready(app), seconds=STATE_SECONDS, is_kept=lambda reason: not reason)
        self.scraping = asyncio.Lock()
        self._scrapes: dict[tuple[str, bool], SharedWork[tuple[bytes, CIMultiDict[str]]]] = {}

    def scrape(self, content_type: str, gzip: bool) -> SharedWork[tuple[bytes, CIMultiDict[str]]]:
        """Return the scrape in this format."""
        key = (content_type, gzip)
        if key not in self._scrapes:
            self._scrapes[key] = SharedWork(lambda: _scrape(self._app, content_type, gzip))
        return self._scrapes[key]


STATE = web.AppKey("system_state", SystemState)
SYSTEM = (
    Route("GET", "/", read_root, Access.PUBLIC, "Describe the service"),
    Route("GET", "/health", read_health, Access.PUBLIC, "Health", limit=Limit.NONE, vital=True),
    Route("GET", LIVENESS, read_live, Access.PUBLIC, "Liveness", limit=Limit.NONE, vital=True),
    Route("GET", "/health/ready", read_ready, Access.PUBLIC, "Readiness", limit=Limit.NONE, vital=True),
)
METRICS_ROUTES = (Route("GET", "/metrics", read_metrics, Access.PUBLIC, "Metrics", limit=Limit.NONE, vital=True),)
