"""The parts of this room put together, as the settings say: credentials, and the messages to users."""

from aiohttp import web

from todo_service.auth.credentials import TOKENS
from todo_service.auth.external_jwts import EXTERNAL_JWTS, ExternalJwts
from todo_service.auth.external_sessions import EXTERNAL_SESSIONS, ExternalSessions
from todo_service.auth.jwks import JWKS, JwksClient
from todo_service.auth.mailer import MAILER, Mailer
from todo_service.auth.passwords import BCRYPT_POOL, BcryptPool
from todo_service.auth.personal_tokens import PERSONAL_TOKENS, PersonalTokens
from todo_service.auth.recovery import RECOVERY, Recovery
from todo_service.auth.refresh_tokens import SESSIONS, Sessions
from todo_service.auth.reset_requests import RESET_REQUESTS, ResetRequests
from todo_service.auth.revocations import REVOCATIONS, Revocations
from todo_service.auth.tickets import TICKETS, Tickets
from todo_service.auth.token_cache import SERVICE_USERS, TOKEN_CACHE, TokenCache
from todo_service.auth.tokens import MAX_LIFETIME, AccessTokens
from todo_service.config import smtp_url
from todo_service.config.secrets import plain_text
from todo_service.config.settings import SETTINGS
from todo_service.observability.metrics import METRICS
from todo_service.postgres.database import DATABASE
from todo_service.wire.mails import MailTemplates

MINUTE, DAY = 60, 24 * 60 * 60  # seconds


def add_auth(app: web.Application) -> None:
    """Add everything that checks or issues credentials."""
    settings, database = app[SETTINGS], app[DATABASE]
    cache = app[TOKEN_CACHE] = TokenCache()
    service_users = app[SERVICE_USERS] = TokenCache()
    app[REVOCATIONS] = Revocations(database, lifetime=MAX_LIFETIME, caches=(cache, service_users))
    app[PERSONAL_TOKENS] = PersonalTokens(database, app[REVOCATIONS])
    app[BCRYPT_POOL] = BcryptPool(rounds=settings.bcrypt_rounds)
    app[TOKENS] = AccessTokens(
        settings.signing_keys, algorithm=settings.algorithm, lifetime=settings.access_token_expire_minutes * MINUTE
    )
    app[TICKETS] = Tickets(settings.signing_keys)
    app[SESSIONS] = Sessions(
        database,
        keys=settings.signing_keys,
        lifetime=settings.refresh_token_expire_days * DAY,
        reuse_seconds=settings.refresh_reuse_seconds,
        metrics=app[METRICS],
    )
    if settings.jwks_url is not None:
        app[JWKS] = JwksClient(settings.jwks_url, on_withdrawal=cache.clear)
    app[EXTERNAL_JWTS] = ExternalJwts(
        shared_secret=plain_text(settings.better_auth_secret),
        jwks=app.get(JWKS),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )
    app[EXTERNAL_SESSIONS] = ExternalSessions(
        database,
        table=settings.session_table,
        storage=settings.session_token_storage,
        hash_secret=plain_text(settings.session_hash_secret),
        signing_secret=plain_text(settings.better_auth_secret),
    )


def add_mail(app: web.Application) -> None:
    """Add the messages to users. In development they need no mail server, and links have a usual address."""
    settings, url = app[SETTINGS], plain_text(app[SETTINGS].smtp_url)
    in_development = settings.environment == "development"
    if url is not None or in_development:
        app[MAILER] = Mailer(
            server=smtp_url.parse(url, allow_plain=in_development) if url is not None else None,
            sender=settings.mail_from,
            folder=settings.data_dir / "mail",
            metrics=app[METRICS],
        )
    usual = "http://localhost:3000/{}?token={{token}}" if in_development else ""
    app[RECOVERY] = Recovery(
        app[DATABASE],
        app.get(MAILER),
        MailTemplates(app_name=settings.app_name, folder=settings.mail_templates),
        reset_url=settings.password_reset_url or usual.format("reset-password") or None,
        verify_url=settings.email_verify_url or usual.format("verify-email") or None,
    )
    app[RESET_REQUESTS] = ResetRequests(app[DATABASE], app[RECOVERY])
