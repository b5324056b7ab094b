"""Accounts made here: register, sign in, who am I. The two older clients' paths stand beside the canonical ones."""

from aiohttp import web

from todo_service.auth import sign_in
from todo_service.auth.caller import OWNER
from todo_service.auth.gates import TOKENS, Access
from todo_service.auth.sign_in import PASSWORDS
from todo_service.database import DATABASE
from todo_service.errors import Unauthenticated
from todo_service.queries import users
from todo_service.queries.users import UserRow
from todo_service.routes import reply
from todo_service.routes.table import Route
from todo_service.wire.users import Registration, SignIn, TokenAnswer, older_token_answer, profile, token_answer


async def register(request: web.Request, body: Registration) -> web.Response:
    """Make an account and answer its profile."""
    return reply.json(profile(await _registered(request, body)), status=201, headers=reply.SECRET)


async def register_signed_in(request: web.Request, body: Registration) -> web.Response:
    """Make an account and sign in to it."""
    return _tokens(request, await _registered(request, body), status=201)


async def sign_up(request: web.Request, body: Registration) -> web.Response:
    """Make an account and sign in to it, for the client that reads `token`."""
    return _tokens(request, await _registered(request, body), status=201, answer=older_token_answer)


async def log_in(request: web.Request, body: SignIn) -> web.Response:
    """Sign in with email and password."""
    return _tokens(request, await _signed_in(request, body))


async def sign_in_older(request: web.Request, body: SignIn) -> web.Response:
    """Sign in with email and password, for the client that reads `token`."""
    return _tokens(request, await _signed_in(request, body), answer=older_token_answer)


async def read_me(request: web.Request) -> web.Response:
    """Answer the caller's profile."""
    return reply.json(profile(await _own_account(request)), headers=reply.PRIVATE)


async def verify(request: web.Request) -> web.Response:
    """Say whose token this is, for a front end that checks it at start."""
    user = await _own_account(request)
    return reply.json({"user_id": user.id, "email": user.email, "verified": True}, headers=reply.PRIVATE)


async def _registered(request: web.Request, body: Registration) -> UserRow:
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
    return await sign_in.sign_in(
        request.app[DATABASE],
        request.app[PASSWORDS],
        email_key=body.email_key,
        password=body.password,
        wanted=lambda: request.transport is not None,
    )


async def _own_account(request: web.Request) -> UserRow:
    async with request.app[DATABASE].connection() as db:
        user = await users.select(db, user_id=request[OWNER])
    if user is None:
        raise Unauthenticated("The account of this token is gone. Sign in again.")
    return user


def _tokens(
    request: web.Request, user: UserRow, *, status: int = 200, answer: TokenAnswer = token_answer
) -> web.Response:
    tokens = request.app[TOKENS]
    token = tokens.issue(user_id=user.id, email=user.email, role=user.role, generation=user.generation)
    document = answer(user, access_token=token, expires_in=tokens.lifetime)
    return reply.json(document, status=status, headers=reply.SECRET)


AUTH = (
    Route("POST", "/api/v1/auth/register", register, Access.PUBLIC, "Make an account", body=Registration),
    Route("POST", "/api/auth/register", register_signed_in, Access.PUBLIC, "Make an account", body=Registration),
    Route("POST", "/api/auth/signup", sign_up, Access.PUBLIC, "Make an account", body=Registration),
    Route("POST", "/api/v1/auth/login", log_in, Access.PUBLIC, "Sign in", body=SignIn),
    Route("POST", "/api/auth/login", log_in, Access.PUBLIC, "Sign in", body=SignIn),
    Route("POST", "/api/auth/signin", sign_in_older, Access.PUBLIC, "Sign in", body=SignIn),
    Route("GET", "/api/v1/auth/me", read_me, Access.USER, "Read my profile"),
    Route("GET", "/api/auth/me", read_me, Access.USER, "Read my profile"),
    Route("GET", "/api/auth/verify", verify, Access.USER, "Check my token"),
)
