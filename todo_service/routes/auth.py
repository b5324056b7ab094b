"""Sign in to accounts made here: register, sign in, refresh, sign out.

`/api/v1` is for new clients, the rest for older ones.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog
from aiohttp import hdrs, web
from asyncpg import UniqueViolationError

from todo_service.auth import audit, sign_in
from todo_service.auth.access import Access
from todo_service.auth.caller import Kind
from todo_service.auth.credentials import TOKENS, identify
from todo_service.auth.passwords import BCRYPT_POOL, PasswordHasher
from todo_service.auth.rate_limiting import spend_for_email
from todo_service.auth.recovery import RECOVERY
from todo_service.auth.refresh_tokens import SESSIONS, Session
from todo_service.auth.revocations import REVOCATIONS
from todo_service.config.settings import SETTINGS
from todo_service.errors import (
    AccountInactive,
    EmailAlreadyRegistered,
    EmailNotVerified,
    NoPasswordAccount,
    Overloaded,
    Unauthenticated,
    WrongPassword,
)
from todo_service.limits.rate import Limit
from todo_service.observability.metrics import METRICS
from todo_service.postgres.database import DATABASE
from todo_service.postgres.failures import describe as describe_failure
from todo_service.queries.users import UserRow
from todo_service.routes import responses
from todo_service.routes.descriptions import describe
from todo_service.routes.table import Route, matched_row
from todo_service.wire.auth import OlderTokens, Refresh, SignOut, Tokens, older_token_answer, token_answer
from todo_service.wire.codec import Input
from todo_service.wire.users import Profile, Registration, SignIn, profile

MAX_USER_AGENT = 255  # characters

log = structlog.get_logger()


@describe({201: Profile}, errors=(EmailAlreadyRegistered,))
async def register(request: web.Request, body: Registration) -> web.Response:
    """Make an account and answer its profile."""
    return responses.json(profile(await _register(request, body)), status=201, headers=responses.SECRET)


@describe({201: Tokens}, errors=(EmailAlreadyRegistered, EmailNotVerified))
async def sign_up(request: web.Request, body: Registration) -> web.Response:
    """Make an account and sign in to it. At `/api/auth/signup` the answer also has `token`, `user_id`, `email` and
    `created_at`, which older clients read.
    """
    user = await _register(request, body)
    if request.app[SETTINGS].require_verified_email:
        raise EmailNotVerified
    return await _start_session(request, user, status=201)


@describe({200: Tokens}, errors=(WrongPassword, AccountInactive, EmailNotVerified))
async def log_in(request: web.Request, body: SignIn) -> web.Response:
    """Sign in with email and password. Send the answer's `access_token` as `Authorization: Bearer` from then on. At
    `/api/auth/signin` the answer also has `token`, `user_id`, `email` and `created_at`, which older clients read.
    """
    await spend_for_email(request, body.email_key)
    outcomes = {WrongPassword: "failed", AccountInactive: "inactive", Overloaded: "overloaded"}
    outcomes[EmailNotVerified] = "unverified"
    must_be_verified = request.app[SETTINGS].require_verified_email
    with request.app[METRICS].auth_attempt("sign_in", outcomes):
        user = await sign_in.sign_in(
            request.app[DATABASE],
            hasher(request),
            email_key=body.email_key,
            password=body.password,
            audit=audit.entry_of(request, "sign_in_failed"),
            on_unverified=partial(_send_verification, request) if must_be_verified else None,
        )
    return await _start_session(request, user)


@describe({200: Tokens}, errors=(Unauthenticated,))
async def refresh(request: web.Request, body: Refresh) -> web.Response:
    """Exchange a refresh token for the next one and a new access token. Store the next one: a token that is used again
    much later ends its session.
    """
    reused = audit.entry_of(request, "refresh_token_reused")
    return _tokens(request, await request.app[SESSIONS].rotate(body.refresh_token, reused))


@describe({204: None}, errors=(NoPasswordAccount,), may_identify=True)
async def log_out(request: web.Request, body: SignOut) -> web.Response:
    """End the session of a refresh token.

    With `everywhere`, end all sessions of the user of the refresh token, if it still holds, or of the access token. A
    session that is over already is no error.
    """
    sessions, token = request.app[SESSIONS], body.refresh_token
    session = await sessions.find(token, is_current=body.everywhere) if token else None
    if body.everywhere:
        user_id = session[0] if session else await _account_id(request)
        await sessions.end_all(user_id, audit.entry_of(request, "signed_out_everywhere", actor_id=user_id))
    elif session:
        await sessions.end(*session, audit.entry_of(request, "signed_out", actor_id=session[0]))
    return responses.no_content()


async def _account_id(request: web.Request) -> str:
    caller = await identify(request)
    if caller.kind is not Kind.ACCOUNT:
        raise NoPasswordAccount
    return caller.user_id


async def _register(request: web.Request, body: Registration) -> UserRow:
    await spend_for_email(request, body.email_key, act="registration")
    outcomes = {EmailAlreadyRegistered: "refused", UniqueViolationError: "refused", Overloaded: "overloaded"}
    with request.app[METRICS].auth_attempt("registration", outcomes):
        user = await sign_in.register(
            request.app[DATABASE],
            hasher(request),
            email=body.email,
            email_key=body.email_key,
            password=body.password,
            full_name=body.full_name,
            audit=audit.entry_of(request, "registered"),
        )
    if _verifies_newcomers(request):
        try:
            await _send_verification(request, user)
        except Exception as error:  # the account is there; the next sign-in, or a change of email, sends a link
            log.warning("verification_not_sent", user_id=user.id, reason=describe_failure(error))
    return user


def hasher(request: web.Request) -> PasswordHasher:
    return PasswordHasher(request.app[BCRYPT_POOL], lambda: request.transport is not None)


async def _start_session(request: web.Request, user: UserRow, *, status: int = 200) -> web.Response:
    entry, user_agent = audit.entry_of(request, "signed_in"), _user_agent(request)
    return _tokens(request, await request.app[SESSIONS].start(user, entry, user_agent=user_agent), status=status)


def _verifies_newcomers(request: web.Request) -> bool:
    """Whether a new account gets a link: where it must be used, or a mail server is there to send it."""
    settings = request.app[SETTINGS]
    has_server = settings.smtp_url is not None and settings.email_verify_url is not None
    return settings.require_verified_email or has_server


async def _send_verification(request: web.Request, user: UserRow) -> None:
    entry = audit.entry_of(request, "email_verification_requested", actor_id=user.id)
    await request.app[RECOVERY].send_verification(user, entry)


def _user_agent(request: web.Request) -> str | None:
    """The browser of the request, in characters that any list can show."""
    sent = request.headers.get(hdrs.USER_AGENT, "")[:MAX_USER_AGENT]
    return "".join(letter if letter.isprintable() else "?" for letter in sent) or None


def _tokens(request: web.Request, session: Session, *, status: int = 200) -> web.Response:
    """The token answer, in the format of the matched row."""
    tokens, user, row = request.app[TOKENS], session.user, matched_row(request)
    access_token = tokens.issue(
        user_id=user.id,
        email=user.email,
        role=user.role,
        generation=user.generation,
        session_id=session.id,
        epoch=request.app[REVOCATIONS].epoch,
    )
    render = (row and row.render) or token_answer
    document = render(user, access_token=access_token, refresh_token=session.refresh_token, expires_in=tokens.lifetime)
    return responses.json(document, status=status, headers=responses.SECRET)


def _public(
    path: str,
    handler: Callable[..., Any],
    summary: str,
    body: type[Input],
    *,
    limit: Limit | None = Limit.AUTH,
    older: Mapping[int, Any] | None = None,
    name: str = "",
) -> Route:
    """A public row; `older` are the answers of a path for clients that read `token`."""
    render = older_token_answer if older else None
    return Route(
        "POST", path, handler, Access.PUBLIC, summary, body=body, limit=limit, render=render, answers=older, name=name
    )


V1, OLD = "/api/v1/auth", "/api/auth"
SIGN_UP, TOKEN, OLDER = "Make an account and sign in", "token in the answer", "(older path)"
AUTH = (
    _public(f"{V1}/register", register, "Make an account", Registration),
    _public(f"{OLD}/register", sign_up, SIGN_UP, Registration, name="register_signed_in"),
    _public(f"{OLD}/signup", sign_up, f"{SIGN_UP}, {TOKEN}", Registration, older={201: OlderTokens}),
    _public(f"{V1}/login", log_in, "Sign in", SignIn),
    _public(f"{OLD}/login", log_in, f"Sign in {OLDER}", SignIn, name="app_log_in"),
    _public(f"{OLD}/signin", log_in, f"Sign in, {TOKEN}", SignIn, older={200: OlderTokens}, name="sign_in"),
    _public(f"{V1}/refresh", refresh, "Refresh my tokens", Refresh),
    _public(f"{OLD}/refresh", refresh, f"Refresh my tokens {OLDER}", Refresh, name="app_refresh"),
    _public(f"{V1}/logout", log_out, "Sign out", SignOut, limit=None),
    _public(f"{OLD}/logout", log_out, f"Sign out {OLDER}", SignOut, limit=None, name="app_log_out"),
)
