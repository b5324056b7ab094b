"""The composition root: the resources, the middlewares and the routes of the service."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import structlog
from aiohttp import web

from todo_service import __version__
from todo_service.ai_providers import API_KEY_VALIDATOR, ApiKeyValidator
from todo_service.auth.api_key_encryption import API_KEY_CIPHER, ApiKeyCipher
from todo_service.auth.audit import AUDIT_SEALER, AuditSealer
from todo_service.auth.composition import add_auth, add_mail
from todo_service.auth.jwks import JWKS
from todo_service.auth.mailer import MAILER
from todo_service.auth.passwords import BCRYPT_POOL
from todo_service.auth.personal_tokens import PERSONAL_TOKENS
from todo_service.auth.reset_requests import RESET_REQUESTS
from todo_service.auth.revocations import REVOCATIONS
from todo_service.config.database_options import database_options
from todo_service.config.secrets import plain_text
from todo_service.config.settings import SETTINGS, Settings
from todo_service.limits.fair_share import PerUserByteBudget
from todo_service.limits.load import LOAD, Load
from todo_service.limits.rate import RATE_LIMITER, RateLimiter, quotas
from todo_service.limits.rate_redis import Observer
from todo_service.limits.searches import SEARCHES, Searches
from todo_service.middleware import cors, metrics_middlewares, middlewares
from todo_service.middleware.response_headers import RESPONSE_HEADERS, ResponseHeaders
from todo_service.middleware.streaming import MAX_UNSENT, MAX_UNSENT_PER_USER, UNSENT
from todo_service.observability.event_loop import monitor
from todo_service.observability.metrics import METRICS, Metrics
from todo_service.openapi.document import document
from todo_service.postgres import migrations, row_security
from todo_service.postgres.batched_reads import BatchedReads
from todo_service.postgres.database import DATABASE, Database
from todo_service.queries import clocks, statement_names, tasks
from todo_service.queries.external_sessions import statements_for
from todo_service.routes.all_routes import api_routes, page_routes
from todo_service.routes.change_watch import CHANGE_WATCH, ChangeWatch
from todo_service.routes.history_limit import HISTORY_LIMIT, HistoryLimit
from todo_service.routes.list_cache import LIST_CACHE, TASK_STAMPS, ListCache
from todo_service.routes.openapi import OPENAPI_DOCUMENT, OPENAPI_V1_DOCUMENT, OpenApiDocument, is_v1
from todo_service.routes.system import METRICS_ROUTES, MIGRATIONS, STATE, SystemState
from todo_service.routes.table import register
from todo_service.routes.tasks import TASK_READS
from todo_service.routes.transfers import IMPORT_BYTES, IMPORTS_AT_ONCE
from todo_service.static_files import STATIC_FILES, by_path
from todo_service.wire import codec
from todo_service.wire.import_reader import IMPORT_READER, ImportReader
from todo_service.wire.new_passwords import common_passwords

OPENED_LAST = (JWKS, RATE_LIMITER, API_KEY_VALIDATOR, BCRYPT_POOL, IMPORT_READER, MAILER, RESET_REQUESTS)

log = structlog.get_logger()


def build_app(settings: Settings, *, metrics: Metrics | None = None) -> web.Application:
    """Return the service as an aiohttp application.

    Args:
        settings: With a `database_url` and a secret for `signing_keys`.
        metrics: Those that the workers share; None for an application of its own.
    """
    app = web.Application(middlewares=middlewares(settings))
    app[SETTINGS] = settings
    app[METRICS] = metrics or Metrics(version=__version__)
    app[LOAD] = Load(max_busy=settings.max_requests_in_flight)
    app[STATE] = SystemState(app)
    app[MIGRATIONS] = migrations.find()
    names = statement_names() | migrations.STATEMENT_NAMES | row_security.STATEMENT_NAMES
    statements = statements_for(settings.session_table)
    names |= {sql: f"external_sessions.{name}" for name, sql in statements._asdict().items()}
    app[DATABASE] = Database(database_options(settings), statement_names=names, metrics=app[METRICS])
    app[RATE_LIMITER] = rate_limiter(settings, app[METRICS])
    app[LIST_CACHE] = ListCache()
    app[TASK_STAMPS] = BatchedReads(app[DATABASE], clocks.select_stamps, owner=str)
    app[TASK_READS] = BatchedReads(app[DATABASE], tasks.select, owner=lambda key: key[0])
    app[CHANGE_WATCH] = ChangeWatch(app[DATABASE], app[LOAD], most=settings.max_streams)
    app[HISTORY_LIMIT] = HistoryLimit(app[DATABASE])
    app[SEARCHES] = Searches(places=max(1, settings.database_pool_max // 4), patience=settings.database_acquire_timeout)
    app[UNSENT] = PerUserByteBudget(total=MAX_UNSENT, per_user=MAX_UNSENT_PER_USER)
    app[IMPORT_READER] = ImportReader(settings)
    app[IMPORT_BYTES] = PerUserByteBudget(
        total=IMPORTS_AT_ONCE * settings.max_import_bytes, per_user=settings.max_import_bytes
    )
    app[STATIC_FILES] = by_path(docs=settings.docs_enabled)
    app[API_KEY_VALIDATOR] = ApiKeyValidator(settings)
    if settings.encryption_keys:
        app[API_KEY_CIPHER] = ApiKeyCipher(settings.encryption_keys)
    add_auth(app)
    add_mail(app)
    app.cleanup_ctx.extend([opened(DATABASE), opened(REVOCATIONS), opened(PERSONAL_TOKENS)])
    app.cleanup_ctx.extend(map(background, BACKGROUND_TASKS))
    app.cleanup_ctx.extend(opened(key) for key in OPENED_LAST)
    if settings.audit_keys:
        app[AUDIT_SEALER] = AuditSealer(app[DATABASE], key=settings.audit_keys[0])
        app.cleanup_ctx.append(background(seal_audit_log))
    add_response_headers(app)
    routes = api_routes(settings)
    app[OPENAPI_DOCUMENT] = OpenApiDocument(codec.dump(document(routes, settings)))
    app[OPENAPI_V1_DOCUMENT] = OpenApiDocument(codec.dump(document([*filter(is_v1, routes)], settings)))
    register(app, (*routes, *page_routes(settings)))
    cors.set_up(app)
    app.on_startup.append(warn_about_settings)
    common_passwords()  # read before the first request needs them
    return app


def build_metrics_app(app: web.Application) -> web.Application:
    """Return an application for a port of its own that serves the metrics of `app` and nothing else."""
    metrics_app = web.Application(middlewares=metrics_middlewares())
    metrics_app[SETTINGS], metrics_app[LOAD] = app[SETTINGS], app[LOAD]
    metrics_app[METRICS], metrics_app[STATE] = app[METRICS], app[STATE]
    add_response_headers(metrics_app)
    register(metrics_app, METRICS_ROUTES)
    return metrics_app


def add_response_headers(app: web.Application) -> None:
    """Complete the headers of every answer."""
    settings = app[SETTINGS]
    app[RESPONSE_HEADERS] = ResponseHeaders(
        app[LOAD], https_only=settings.in_production, varies_by_origin=bool(settings.cors_origins)
    )
    app.on_response_prepare.append(app[RESPONSE_HEADERS].set)


def rate_limiter(settings: Settings, observer: Observer) -> RateLimiter:
    """Return the rate limits of the settings."""
    enforced = quotas(read=settings.rate_limit_read, write=settings.rate_limit_write, auth=settings.rate_limit_auth)
    return RateLimiter(
        enforced if settings.rate_limit_enabled else {},
        secret=settings.signing_keys[0],
        observer=observer,
        redis_url=plain_text(settings.redis_url),
    )


async def watch_event_loop(app: web.Application) -> None:
    """Monitor the event loop for ever."""

    def read_gauges() -> None:
        app[DATABASE].measure_pool()
        app[METRICS].password_checks.set(app[BCRYPT_POOL].waiting)

    await monitor(app[METRICS], app[LOAD], read_gauges)


async def follow_revocations(app: web.Application) -> None:
    """Read the feed of revoked access tokens for ever."""
    await app[REVOCATIONS].follow()


async def record_token_uses(app: web.Application) -> None:
    """Record the uses of personal access tokens for ever."""
    await app[PERSONAL_TOKENS].follow()


async def watch_changes(app: web.Application) -> None:
    """Look for changes of tasks that requests wait for, for ever."""
    await app[CHANGE_WATCH].follow()


async def limit_history(app: web.Application) -> None:
    """Delete the oldest changes of users with too many, for ever."""
    await app[HISTORY_LIMIT].follow()


async def seal_audit_log(app: web.Application) -> None:
    """Seal new entries of the audit log for ever."""
    await app[AUDIT_SEALER].follow()


BACKGROUND_TASKS = (watch_event_loop, follow_revocations, record_token_uses, watch_changes, limit_history)


def opened(key: web.AppKey[Any]) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a cleanup context that opens and closes the resource under `key`, if there is one."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        resource = app.get(key)
        if resource is not None:
            await resource.open()
        yield
        if resource is not None:
            await resource.close()

    return context


def background(
    run: Callable[[web.Application], Coroutine[Any, Any, None]],
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a cleanup context in which `run(app)` runs as a task."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(run(app), name=run.__name__)
        yield
        task.cancel()
        await asyncio.wait([task])

    return context


async def warn_about_settings(app: web.Application) -> None:
    """Log the settings that were cleaned, and those that production lacks and can run without."""
    settings = app[SETTINGS]
    if settings.cleaned:
        detail = "White space or quotes around these values were taken off."
        log.warning("settings_cleaned", variables=settings.cleaned, detail=detail)
    if settings.in_production and not settings.allowed_hosts:
        log.warning("allowed_hosts_not_set", detail="Requests for every host are answered; set ALLOWED_HOSTS.")
    unencrypted = [origin for origin in settings.cors_origins if origin.startswith("http://")]
    if settings.in_production and unencrypted:
        detail = "A third party on the network can replace these pages."
        log.warning("cors_origins_not_encrypted", origins=unencrypted, detail=detail)
    if JWKS in app and settings.better_auth_secret is not None:
        detail = "A subject is one user under JWKS_URL and BETTER_AUTH_SECRET: both must belong to one auth server."
        log.warning("auth_servers_share_users", detail=detail)
    if JWKS in app and settings.jwt_issuer is None:
        log.warning("jwt_issuer_not_set", detail="Tokens of every issuer under JWKS_URL's keys hold; set JWT_ISSUER.")
