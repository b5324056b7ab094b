"""Credentials of a request, and the caller that they prove.

A service identifies itself in `X-Service-Auth`, every other caller in `Authorization: Bearer` (RFC 6750 section 2.1):
with an access token of ours, a personal access token, a JWT of a trusted auth server, or the token of a session that
such a server keeps in a table.
"""

import hmac
import time

from aiohttp import hdrs, web

from todo_service.auth.caller import Caller, Kind
from todo_service.auth.external_jwts import EXTERNAL_JWTS, is_external
from todo_service.auth.external_sessions import EXTERNAL_SESSIONS
from todo_service.auth.jose import split_jwt
from todo_service.auth.personal_tokens import PERSONAL_TOKENS, PREFIX
from todo_service.auth.revocations import REVOCATIONS
from todo_service.auth.tickets import TOKEN
from todo_service.auth.token_cache import SERVICE_USERS, TOKEN_CACHE
from todo_service.auth.tokens import USER_ID, AccessTokens, TokenError
from todo_service.config.scopes import limited_to
from todo_service.config.settings import SETTINGS
from todo_service.errors import AccountInactive, BadRequest, Unauthenticated
from todo_service.postgres.database import DATABASE
from todo_service.queries import users
from todo_service.queries.users import Standing

SERVICE_AUTH = "X-Service-Auth"
USER_ID_HEADER = "X-User-ID"
REVOKED = "The token has been revoked. Sign in again."
INACTIVE = "This account has been deactivated. Ask an administrator to activate it."
NOT_AN_ACCOUNT = "The token names an account of this service, for which an auth server does not speak. Sign in here."
REMEMBER_SECONDS = 3600  # that a user was active when a service acted for them; a revocation ends it at once
TOKENS = web.AppKey("tokens", AccessTokens)


async def identify(request: web.Request) -> Caller:
    """Return the caller.

    Raises:
        Unauthenticated: The credential is missing or invalid.
        IssuerUnavailable: The key of the token cannot be fetched now.
        BadRequest: A service does not name the user that it acts for.
        AccountInactive: A service acts for a deactivated user.
    """
    if services := request.headers.getall(SERVICE_AUTH, ()):
        if len(services) > 1 or not _is_service(request, services[0]):
            raise Unauthenticated("`X-Service-Auth` is not the token of a service here. Correct it or leave it out.")
        return await _on_behalf(request)
    token = bearer_token(request)
    if (caller := request.app[TOKEN_CACHE].get(token)) is not None:
        if caller.token_id is not None:
            request.app[PERSONAL_TOKENS].note_use(caller)
        return caller
    if _is_service(request, token):
        return await _on_behalf(request)
    try:
        if token.startswith(PREFIX):
            return await _by_personal_token(request, token)
        return await (_by_jwt(request, token) if token.count(".") == 2 else _by_session(request, token))
    except TokenError as error:
        raise Unauthenticated(str(error)) from None


def bearer_token(request: web.Request) -> str:
    """Return the token of the request, or that of its ticket. Raises `Unauthenticated` if there is not one."""
    values = request.headers.getall(hdrs.AUTHORIZATION, ())
    if not values and TOKEN in request:
        return request[TOKEN]
    if not values:
        raise Unauthenticated(credential_sent=False)
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer":
        raise Unauthenticated("Send one `Authorization` header with `Bearer <token>`.")
    return token.strip(" ")


def _is_service(request: web.Request, credential: str) -> bool:
    token = request.app[SETTINGS].service_auth_token
    if token is None:
        return False
    return hmac.compare_digest(credential.encode(errors="surrogateescape"), token.get_secret_value().encode())


async def _on_behalf(request: web.Request) -> Caller:
    """The user that a service acts for: never an administrator, whatever role the account has."""
    user_ids = request.headers.getall(USER_ID_HEADER, ())
    if len(user_ids) != 1:
        raise BadRequest("A service must name the user it acts for: send one `X-User-ID` header.")
    if not USER_ID.fullmatch(user_ids[0]):
        raise BadRequest("`X-User-ID` must be an id of 1 to 255 characters in UTF-8.")
    seen = request.app[SERVICE_USERS].get(user_ids[0])
    if seen is None and not (await _standing(request, user_ids[0])).is_active:
        raise AccountInactive
    if not request.app[REVOCATIONS].is_valid(user_ids[0], None):
        raise AccountInactive
    if seen is None:
        seen = Caller(Kind.SERVICE, user_ids[0], scopes=limited_to(request.app[SETTINGS].service_auth_scopes))
        request.app[SERVICE_USERS].add(user_ids[0], seen, int(time.time()) + REMEMBER_SECONDS)
    return seen


async def _standing(request: web.Request, user_id: str) -> Standing:
    async with request.app[DATABASE].connection() as db:
        return await users.select_standing(db, user_id=user_id)


async def _by_jwt(request: web.Request, token: str) -> Caller:
    """Verify a JWT and remember it. The revocations evict it from the cache when it ends before its expiry."""
    header, claims = split_jwt(token)
    if is_external(header):
        identity = await request.app[EXTERNAL_JWTS].verify(token, header, claims)
        caller, expires_at = Caller(Kind.OUTSIDE, identity.user_id, identity.email), identity.expires_at
        standing = await _standing(request, caller.user_id)
        if standing.is_account:
            raise Unauthenticated(NOT_AN_ACCOUNT)
        # The last before it is remembered: a revocation evicts it from then on.
        _refuse_inactive(request, caller, standing.is_active)
    else:
        own = request.app[TOKENS].verify(token)
        if not request.app[REVOCATIONS].accepts(own):
            raise Unauthenticated(REVOKED)
        caller = Caller(Kind.ACCOUNT, own.user_id, own.email, own.role, own.session_id, own.generation)
        expires_at = own.expires_at
    request.app[TOKEN_CACHE].add(token, caller, expires_at)
    return caller


async def _by_personal_token(request: web.Request, token: str) -> Caller:
    """Look up a personal access token and remember it. The revocations evict it when it ends before its expiry."""
    caller, expires_at = await request.app[PERSONAL_TOKENS].verify(token)
    request.app[TOKEN_CACHE].add(token, caller, expires_at)
    request.app[PERSONAL_TOKENS].note_use(caller)
    return caller


async def _by_session(request: web.Request, token: str) -> Caller:
    """Look up an external session. It is not remembered: the auth server may end it at any moment."""
    user = await request.app[EXTERNAL_SESSIONS].user_of(token)
    if user.is_account:
        raise Unauthenticated(NOT_AN_ACCOUNT)
    caller = Caller(Kind.OUTSIDE, user.id)
    _refuse_inactive(request, caller, user.is_active)
    return caller


def _refuse_inactive(request: web.Request, caller: Caller, is_active: bool) -> None:
    if not is_active or not request.app[REVOCATIONS].is_valid(caller.user_id, None):
        raise Unauthenticated(INACTIVE)
