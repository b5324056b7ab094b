"""The only place where everything meets: resources, chain, routes, CORS."""

import asyncio
from collections.abc import AsyncIterator

import structlog
from aiohttp import web

from todo_service import __version__
from todo_service.ai_providers import VALIDATOR, Validator
from todo_service.auth.api_key_encryption import KEY_BOX, KeyBox
from todo_service.auth.credentials import TOKENS
from todo_service.auth.external_jwts import ISSUERS, Issuers
from todo_service.auth.external_sessions import SESSION_TOKENS, SessionTokens
from todo_service.auth.jwks import KEY_SET, KeySet
from todo_service.auth.passwords import Passwords
from todo_service.auth.refresh_tokens import SESSIONS, Sessions
from todo_service.auth.revocations import REVOCATIONS, Revocations
from todo_service.auth.sign_in import PASSWORDS
from todo_service.auth.tokens import MAX_LIFETIME, AccessTokens
from todo_service.config.settings import SETTINGS, Settings, secret
from todo_service.limits.fair_share import Room
from todo_service.limits.load import LIFE, Life
from todo_service.limits.rate import LIMITS, Limits
from todo_service.middleware import CHAIN, cors
from todo_service.middleware.errors import answer_errors
from todo_service.middleware.pieces import MAX_UNSENT, MAX_UNSENT_OF_ONE, UNSENT
from todo_service.middleware.request_id import give_request_id
from todo_service.middleware.response_headers import set_headers
from todo_service.observability.event_loop import watch
from todo_service.observability.metrics import METRICS, Metrics
from todo_service.openapi.document import document
from todo_service.postgres import migrations
from todo_service.postgres.pool import DATABASE, Database
from todo_service.queries import statement_names
from todo_service.queries.external_sessions import select_user_from
from todo_service.routes.auth import AUTH
from todo_service.routes.batch import BATCH
from todo_service.routes.docs import DOCS, FILES
from todo_service.routes.list_cache import CACHE, Cache
from todo_service.routes.openapi import DESCRIPTION, OPENAPI, Description
from todo_service.routes.problems import PROBLEMS
from todo_service.routes.sync import SYNC
from todo_service.routes.system import MEASURED, MIGRATIONS, SCRAPE, SYSTEM
from todo_service.routes.table import Route, expand, register
from todo_service.routes.tasks import TASKS
from todo_service.routes.transfers import TRANSFERS
from todo_service.routes.user_api_keys import USER_API_KEYS
from todo_service.routes.users import USERS
from todo_service.static_files import ASSETS, by_path
from todo_service.wire import codec
from todo_service.wire.new_passwords import common_passwords
from todo_service.wire.transfers import READERS, Readers

log = structlog.get_logger()

ROUTES: tuple[Route, ...] = (
    *AUTH,
    *expand(TASKS),
    *BATCH,
    *SYNC,
    *TRANSFERS,
    *USER_API_KEYS,
    *USERS,
    *PROBLEMS,
    *OPENAPI,
    *SYSTEM,
)
PAGES: tuple[Route, ...] = (*DOCS, *FILES)  # for people: no part of the API, so its description leaves them out


def build_app(settings: Settings, *, metrics: Metrics | None = None) -> web.Application:
    """The service as an aiohttp application. `settings` must hold a `database_url` and a secret for `signing_keys`;
    `metrics` are its own unless workers share them.
    """
    app = web.Application(middlewares=CHAIN)
    app[SETTINGS] = settings
    app[LIFE] = Life(most_busy=settings.max_requests_in_flight)
    app[METRICS] = metrics or Metrics(version=__version__)
    app[SCRAPE] = asyncio.Lock()
    app[MIGRATIONS] = migrations.find()
    names = statement_names() | migrations.STATEMENT_NAMES
    names |= {select_user_from(settings.session_table): "sessions.select_user"}
    app[DATABASE] = Database(settings, statement_names=names, metrics=app[METRICS])
    app[PASSWORDS] = Passwords(rounds=settings.bcrypt_rounds)
    app[TOKENS] = AccessTokens(
        settings.signing_keys, algorithm=settings.algorithm, lifetime=settings.access_token_expire_minutes * 60
    )
    app[SESSIONS] = Sessions(
        app[DATABASE],
        keys=settings.signing_keys,
        lifetime=settings.refresh_token_expire_days * 24 * 60 * 60,
        reuse_seconds=settings.refresh_reuse_seconds,
        metrics=app[METRICS],
    )
    app[REVOCATIONS] = Revocations(app[DATABASE], lifetime=MAX_LIFETIME)
    app[ISSUERS] = issuers(app)
    app[SESSION_TOKENS] = session_tokens(app)
    app[CACHE] = Cache()
    app[UNSENT] = Room(total=MAX_UNSENT, each=MAX_UNSENT_OF_ONE)
    app[READERS] = Readers(settings)
    app[LIMITS] = Limits(settings, app[METRICS])
    app[ASSETS] = by_path(docs=settings.docs_enabled)
    app[VALIDATOR] = Validator(settings)
    if settings.encryption_keys:
        app[KEY_BOX] = KeyBox(settings.encryption_keys)
    common_passwords()
    app.cleanup_ctx.extend([database, pulse, revocations, key_set, limits, validator, password_threads, import_threads])
    app.on_response_prepare.append(set_headers)
    routes, pages = rows(settings)
    app[DESCRIPTION] = Description(codec.dump(document(routes, settings)))
    register(app, (*routes, *pages))
    cors.set_up(app)
    app.on_startup.append(warn_of_gaps)
    return app


def rows(settings: Settings) -> tuple[tuple[Route, ...], tuple[Route, ...]]:
    """What these settings turn on: the rows of the API and those of the pages."""
    measured = () if settings.metrics_port else MEASURED
    if settings.docs_enabled:
        return (*ROUTES, *measured), PAGES
    return tuple(route for route in (*ROUTES, *measured) if route not in OPENAPI), FILES


async def warn_of_gaps(app: web.Application) -> None:
    """Say in the log what production lacks and can be run without."""
    settings = app[SETTINGS]
    if settings.in_production and not settings.allowed_hosts:
        log.warning("allowed_hosts_not_set", detail="Requests for every host are answered; set ALLOWED_HOSTS.")
    plain = [origin for origin in settings.cors_origins if origin.startswith("http://")]
    if settings.in_production and plain:
        log.warning("cors_origins_not_encrypted", origins=plain, detail="Whoever is on the way can be these pages.")


def build_metrics_app(app: web.Application) -> web.Application:
    """An application for a port of its own that shows the metrics of `app` and nothing else."""
    beside = web.Application(middlewares=(give_request_id, answer_errors))
    beside[SETTINGS], beside[LIFE], beside[METRICS], beside[SCRAPE] = (
        app[SETTINGS],
        app[LIFE],
        app[METRICS],
        app[SCRAPE],
    )
    beside.on_response_prepare.append(set_headers)
    register(beside, MEASURED)
    return beside


def issuers(app: web.Application) -> Issuers:
    """The auth servers whose JWTs are accepted."""
    settings = app[SETTINGS]
    if settings.jwks_url is not None:
        app[KEY_SET] = KeySet(settings.jwks_url)
    return Issuers(
        shared_secret=secret(settings.better_auth_secret),
        key_set=app.get(KEY_SET),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )


def session_tokens(app: web.Application) -> SessionTokens:
    """The table whose session tokens are accepted."""
    settings = app[SETTINGS]
    return SessionTokens(
        app[DATABASE],
        table=settings.session_table,
        storage=settings.session_token_storage,
        hash_secret=secret(settings.session_hash_secret),
        signing_secret=secret(settings.better_auth_secret),
    )


async def database(app: web.Application) -> AsyncIterator[None]:
    """The connection pool, as long as the application runs."""
    await app[DATABASE].open()
    yield
    await app[DATABASE].close()


async def pulse(app: web.Application) -> AsyncIterator[None]:
    """The task that measures the event loop and reads the gauges."""

    def read_gauges() -> None:
        app[DATABASE].read_gauges()
        app[METRICS].password_checks.set(app[PASSWORDS].waiting)

    watching = asyncio.create_task(watch(app[METRICS], app[LIFE], read_gauges), name="pulse")
    yield
    watching.cancel()
    await asyncio.wait([watching])


async def revocations(app: web.Application) -> AsyncIterator[None]:
    """The feed of ended access tokens."""
    following = asyncio.create_task(app[REVOCATIONS].follow(), name="revocations")
    yield
    following.cancel()
    await asyncio.wait([following])


async def key_set(app: web.Application) -> AsyncIterator[None]:
    """The keys that an auth server publishes."""
    if KEY_SET not in app:
        yield
        return
    if app[SETTINGS].jwt_issuer is None:
        log.warning("jwt_issuer_not_set", detail="Tokens of every issuer under JWKS_URL's keys hold; set JWT_ISSUER.")
    await app[KEY_SET].open()
    yield
    await app[KEY_SET].close()


async def limits(app: web.Application) -> AsyncIterator[None]:
    """The Redis that limits are shared through."""
    await app[LIMITS].open()
    yield
    await app[LIMITS].close()


async def validator(app: web.Application) -> AsyncIterator[None]:
    """The client that asks AI providers about API keys."""
    await app[VALIDATOR].open()
    yield
    await app[VALIDATOR].close()


async def password_threads(app: web.Application) -> AsyncIterator[None]:
    """The threads that check passwords."""
    yield
    app[PASSWORDS].close()


async def import_threads(app: web.Application) -> AsyncIterator[None]:
    """The threads that read imported files."""
    yield
    app[READERS].close()
