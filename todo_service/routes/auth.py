"""Accounts made here: register, sign in, who am I. Under `/api/v1` for new clients, else for older ones."""

from collections.abc import Callable
from typing import Any

from aiohttp import web
from asyncpg import UniqueViolationError

from todo_service.auth import accounts, sign_in
from todo_service.auth.access import Access
from todo_service.auth.caller import CALLER, OWNER, REQUEST_ID, Kind
from todo_service.auth.credentials import TOKENS, identify
from todo_service.auth.rate_limiting import charge_email
from todo_service.auth.refresh_tokens import SESSIONS, Session
from todo_service.auth.sign_in import PASSWORDS
from todo_service.errors import (
    AccountInactive,
    EmailAlreadyRegistered,
    LastAdmin,
    NoPasswordAccount,
    NotFound,
    Overloaded,
    Unauthenticated,
    WrongPassword,
    invalid,
)
from todo_service.limits.rate import Limit
from todo_service.observability.metrics import METRICS
from todo_service.postgres.pool import DATABASE
from todo_service.queries import users
from todo_service.queries.users import UserRow
from todo_service.routes import responses
from todo_service.routes.table import Route
from todo_service.wire.auth import (
    OlderTokens,
    Refresh,
    SignOut,
    TokenAnswer,
    Tokens,
    Verified,
    older_token_answer,
    token_answer,
)
from todo_service.wire.codec import Input
from todo_service.wire.new_passwords import is_email
from todo_service.wire.users import Confirmation, PasswordChange, Profile, ProfileUpdate, Registration, SignIn, profile

ME = "/api/v1/auth/me"


async def register(request: web.Request, body: Registration) -> web.Response:
    """Make an account and answer its profile."""
    return responses.json(profile(await _registered(request, body)), status=201, headers=responses.SECRET)


async def register_signed_in(request: web.Request, body: Registration) -> web.Response:
    """Make an account and sign in to it."""
    return await _tokens(request, await _registered(request, body), status=201)


async def sign_up(request: web.Request, body: Registration) -> web.Response:
    """Make an account and sign in to it. The answer also has `token`, `user_id`, `email` and `created_at`, which older
    clients read.
    """
    return await _tokens(request, await _registered(request, body), status=201, answer=older_token_answer)


async def log_in(request: web.Request, body: SignIn) -> web.Response:
    """Sign in with email and password. Send the answer's `access_token` as `Authorization: Bearer` from then on."""
    return await _tokens(request, await _signed_in(request, body))


async def sign_in_older(request: web.Request, body: SignIn) -> web.Response:
    """Sign in with email and password. The answer also has `token`, `user_id`, `email` and `created_at`, which older
    clients read.
    """
    return await _tokens(request, await _signed_in(request, body), answer=older_token_answer)


async def refresh(request: web.Request, body: Refresh) -> web.Response:
    """Exchange a refresh token for the next one and a new access token. Store the next one: a token that is used again
    much later ends its session.
    """
    return _answer(request, await request.app[SESSIONS].rotate(body.refresh_token))


async def log_out(request: web.Request, body: SignOut) -> web.Response:
    """End the session of a refresh token. With `everywhere`, end all sessions of the user whom the refresh token or
    the access token names. A session that is over already is no error.
    """
    sessions = request.app[SESSIONS]
    found = await sessions.find(body.refresh_token) if body.refresh_token else None
    if body.everywhere:
        await sessions.end_all(found[0] if found else await _account_id(request))
    elif found:
        await sessions.end(*found)
    return responses.nothing()


async def read_me(request: web.Request) -> web.Response:
    """Read your profile."""
    user = await _known(request)
    if user is None:
        raise NotFound("You have no profile here yet. It is made with your first task.")
    return responses.json(profile(user), headers=responses.PRIVATE)


async def update_me(request: web.Request, body: ProfileUpdate) -> web.Response:
    """Change your profile."""
    if "full_name" not in body.model_fields_set:
        return await read_me(request)
    async with request.app[DATABASE].connection() as db:
        user = await users.update_full_name(db, user_id=request[OWNER], full_name=body.full_name)
    if user is None:
        raise Unauthenticated(accounts.GONE)
    return responses.json(profile(user), headers=responses.PRIVATE)


async def change_password(request: web.Request, body: PasswordChange) -> web.Response:
    """Change your password and end your other sessions. Access tokens end too: go on with the refresh token."""
    database, session_id = request.app[DATABASE], request[CALLER].session_id
    assert session_id is not None  # every account's token names its session
    user = await accounts.read(database, request[OWNER])
    if user.email is not None and is_email(body.new_password, user.email):
        raise invalid("new_password", "must not be the email or its first part", "password_is_email")
    await accounts.change_password(
        database,
        request.app[PASSWORDS],
        user,
        session_id=session_id,
        current=body.current_password,
        new=body.new_password,
        wanted=lambda: request.transport is not None,
    )
    return responses.nothing()


async def delete_me(request: web.Request, body: Confirmation) -> web.Response:
    """Delete your account with all its data."""
    database = request.app[DATABASE]
    await accounts.delete(
        database,
        request.app[PASSWORDS],
        await accounts.read(database, request[OWNER]),
        password=body.password,
        request_id=request[REQUEST_ID],
        wanted=lambda: request.transport is not None,
    )
    return responses.nothing()


async def verify(request: web.Request) -> web.Response:
    """Say whose token this is, for a front end that checks it at start."""
    user, caller = await _known(request), request[CALLER]
    email = (user.email if user else None) or caller.email
    return responses.json({"user_id": caller.user_id, "email": email, "verified": True}, headers=responses.PRIVATE)


async def _known(request: web.Request) -> UserRow | None:
    """The caller's row; None if they come from elsewhere and have none yet."""
    if request[CALLER].kind is Kind.ACCOUNT:
        return await accounts.read(request.app[DATABASE], request[OWNER])
    async with request.app[DATABASE].connection() as db:
        return await users.select(db, user_id=request[OWNER])


async def _account_id(request: web.Request) -> str:
    caller = await identify(request)
    if caller.kind is not Kind.ACCOUNT:
        raise NoPasswordAccount
    return caller.user_id


async def _registered(request: web.Request, body: Registration) -> UserRow:
    await charge_email(request, body.email_key)
    outcomes = {EmailAlreadyRegistered: "refused", UniqueViolationError: "refused", Overloaded: "overloaded"}
    with request.app[METRICS].auth_attempt("registration", outcomes):
        return await sign_in.register(
            request.app[DATABASE],
            request.app[PASSWORDS],
            email=body.email,
            email_key=body.email_key,
            password=body.password,
            full_name=body.full_name,
            wanted=lambda: request.transport is not None,
        )


async def _signed_in(request: web.Request, body: SignIn) -> UserRow:
    await charge_email(request, body.email_key)
    outcomes = {WrongPassword: "failed", AccountInactive: "inactive", Overloaded: "overloaded"}
    with request.app[METRICS].auth_attempt("sign_in", outcomes):
        return await sign_in.sign_in(
            request.app[DATABASE],
            request.app[PASSWORDS],
            email_key=body.email_key,
            password=body.password,
            wanted=lambda: request.transport is not None,
        )


async def _tokens(
    request: web.Request, user: UserRow, *, status: int = 200, answer: TokenAnswer = token_answer
) -> web.Response:
    return _answer(request, await request.app[SESSIONS].begin(user), status=status, answer=answer)


def _answer(
    request: web.Request, session: Session, *, status: int = 200, answer: TokenAnswer = token_answer
) -> web.Response:
    tokens, user = request.app[TOKENS], session.user
    access_token = tokens.issue(
        user_id=user.id, email=user.email, role=user.role, generation=user.generation, session_id=session.id
    )
    document = answer(user, access_token=access_token, refresh_token=session.refresh_token, expires_in=tokens.lifetime)
    return responses.json(document, status=status, headers=responses.SECRET)


def _public(
    path: str, handler: Callable[..., Any], summary: str, body: type[Input], answers: dict[int, Any], **others: Any
) -> Route:
    """A row about credentials, for everybody."""
    others = {"limit": Limit.AUTH} | others
    return Route("POST", path, handler, Access.PUBLIC, summary, body=body, answers=answers, **others)


REGISTER, TOKEN, OLDER = "Make an account and sign in", "`token` in the answer", "(older path)"
TAKEN = (EmailAlreadyRegistered,)
REFUSED = (WrongPassword, AccountInactive)
OVER = (Unauthenticated,)
SIGNED_OUT = {"raises": (NoPasswordAccount,), "may_identify": True, "limit": None}
AUTH = (
    _public("/api/v1/auth/register", register, "Make an account", Registration, {201: Profile}, raises=TAKEN),
    _public("/api/auth/register", register_signed_in, REGISTER, Registration, {201: Tokens}, raises=TAKEN),
    _public("/api/auth/signup", sign_up, f"{REGISTER}, {TOKEN}", Registration, {201: OlderTokens}, raises=TAKEN),
    _public("/api/v1/auth/login", log_in, "Sign in", SignIn, {200: Tokens}, raises=REFUSED),
    _public("/api/auth/login", log_in, f"Sign in {OLDER}", SignIn, {200: Tokens}, raises=REFUSED, name="app_log_in"),
    _public(
        "/api/auth/signin",
        sign_in_older,
        f"Sign in, {TOKEN}",
        SignIn,
        {200: OlderTokens},
        raises=REFUSED,
        name="sign_in",
    ),
    _public("/api/v1/auth/refresh", refresh, "Refresh my tokens", Refresh, {200: Tokens}, raises=OVER),
    _public(
        "/api/auth/refresh",
        refresh,
        f"Refresh my tokens {OLDER}",
        Refresh,
        {200: Tokens},
        raises=OVER,
        name="app_refresh",
    ),
    _public("/api/v1/auth/logout", log_out, "Sign out", SignOut, {204: None}, **SIGNED_OUT),
    _public("/api/auth/logout", log_out, f"Sign out {OLDER}", SignOut, {204: None}, **SIGNED_OUT, name="app_log_out"),
    *(
        Route("GET", path, read_me, Access.USER, said, answers={200: Profile}, raises=(NotFound,), name=name)
        for path, name, said in (
            (ME, "read_me", "Read my profile"),
            ("/api/auth/me", "app_read_me", f"Read my profile {OLDER}"),
        )
    ),
    Route("PATCH", ME, update_me, Access.ACCOUNT, "Change my profile", body=ProfileUpdate, answers={200: Profile}),
    Route(
        "DELETE",
        ME,
        delete_me,
        Access.ACCOUNT,
        "Delete my account",
        body=Confirmation,
        limit=Limit.AUTH,
        answers={204: None},
        raises=(WrongPassword, LastAdmin),
    ),
    Route(
        "POST",
        "/api/v1/auth/password",
        change_password,
        Access.ACCOUNT,
        "Change my password",
        body=PasswordChange,
        limit=Limit.AUTH,
        answers={204: None},
        raises=(WrongPassword,),
    ),
    Route("GET", "/api/auth/verify", verify, Access.USER, "Check my token", answers={200: Verified}),
)
