"""The only place where everything meets: resources, chain, routes."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from todo_service import migrations
from todo_service.auth.gates import TOKENS
from todo_service.auth.passwords import Passwords
from todo_service.auth.revocations import REVOCATIONS, Revocations
from todo_service.auth.sessions import SESSIONS, Sessions
from todo_service.auth.sign_in import PASSWORDS
from todo_service.auth.tokens import MAX_LIFETIME, AccessTokens
from todo_service.database import DATABASE, Database
from todo_service.life import LIFE, Life
from todo_service.middleware import CHAIN
from todo_service.middleware.headers import set_headers
from todo_service.queries import statement_names
from todo_service.routes.auth import AUTH
from todo_service.routes.system import MIGRATIONS, SYSTEM
from todo_service.routes.table import Route, expand, register
from todo_service.routes.tasks import TASKS
from todo_service.routes.users import USERS
from todo_service.settings import SETTINGS, Settings
from todo_service.wire.new_passwords import common_passwords

ROUTES: tuple[Route, ...] = (*SYSTEM, *AUTH, *USERS, *expand(TASKS))


def build_app(settings: Settings) -> web.Application:
    """The service as an aiohttp application. `settings` must hold a `database_url` and a `secret_key`."""
    app = web.Application(middlewares=CHAIN)
    app[SETTINGS] = settings
    app[LIFE] = Life()
    app[MIGRATIONS] = migrations.find()
    app[DATABASE] = Database(settings, statement_names=statement_names())
    app[PASSWORDS] = Passwords(rounds=settings.bcrypt_rounds)
    app[TOKENS] = AccessTokens(
        settings.signing_keys, algorithm=settings.algorithm, lifetime=settings.access_token_expire_minutes * 60
    )
    app[SESSIONS] = Sessions(
        app[DATABASE],
        keys=settings.signing_keys,
        lifetime=settings.refresh_token_expire_days * 24 * 60 * 60,
        reuse_seconds=settings.refresh_reuse_seconds,
    )
    app[REVOCATIONS] = Revocations(app[DATABASE], lifetime=MAX_LIFETIME)
    common_passwords()
    app.cleanup_ctx.extend([database, revocations, password_threads])
    app.on_response_prepare.append(set_headers)
    register(app, ROUTES)
    return app


async def database(app: web.Application) -> AsyncIterator[None]:
    """The connection pool, as long as the application runs."""
    await app[DATABASE].open()
    yield
    await app[DATABASE].close()


async def revocations(app: web.Application) -> AsyncIterator[None]:
    """The feed of ended access tokens."""
    following = asyncio.create_task(app[REVOCATIONS].follow(), name="revocations")
    yield
    following.cancel()
    await asyncio.wait([following])


async def password_threads(app: web.Application) -> AsyncIterator[None]:
    """The threads that check passwords."""
    yield
    app[PASSWORDS].close()
