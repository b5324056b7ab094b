"""What a request shows to say who is calling, and who has to check it.

A service names itself in `X-Service-Auth`, everybody else in `Authorization: Bearer` (RFC 6750 section 2.1): with a
token of ours, with a JWT of an auth server, or with the token of a session that such a server keeps in a table.
"""

import hmac

from aiohttp import hdrs, web

from todo_service.auth.caller import Caller, Kind
from todo_service.auth.external_jwts import ISSUERS, Identity, is_from_elsewhere
from todo_service.auth.external_sessions import SESSION_TOKENS
from todo_service.auth.jose import parts
from todo_service.auth.revocations import REVOCATIONS
from todo_service.auth.tokens import USER_ID, AccessTokens, TokenError
from todo_service.config.settings import SETTINGS
from todo_service.errors import AccountInactive, BadRequest, Unauthenticated

SERVICE_AUTH = "X-Service-Auth"
USER_ID_HEADER = "X-User-ID"
REVOKED = "The token has been revoked. Sign in again."
INACTIVE = "This account has been deactivated. Ask an administrator to activate it."
TOKENS = web.AppKey("tokens", AccessTokens)


async def identify(request: web.Request) -> Caller:
    """The caller. Raises `Unauthenticated`; `IssuerUnavailable` if that cannot be told now; for a service also
    `BadRequest` if it does not say for whom it acts, and `AccountInactive`.
    """
    if services := request.headers.getall(SERVICE_AUTH, []):
        if len(services) > 1 or not _is_service(request, services[0]):
            raise Unauthenticated("`X-Service-Auth` is not the token of a service here. Correct it or leave it out.")
        return _on_behalf(request)
    token = _bearer_token(request)
    if _is_service(request, token):
        return _on_behalf(request)
    try:
        return await (_by_jwt(request, token) if token.count(".") == 2 else _by_session(request, token))
    except TokenError as error:
        raise Unauthenticated(str(error)) from None


def _bearer_token(request: web.Request) -> str:
    shown = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not shown:
        raise Unauthenticated(shown=False)
    scheme, _, token = shown[0].partition(" ")
    if len(shown) > 1 or scheme.lower() != "bearer":
        raise Unauthenticated("Send one `Authorization` header with `Bearer <token>`.")
    return token.strip(" ")


def _is_service(request: web.Request, shown: str) -> bool:
    token = request.app[SETTINGS].service_auth_token
    if token is None:
        return False
    return hmac.compare_digest(shown.encode(errors="surrogateescape"), token.get_secret_value().encode())


def _on_behalf(request: web.Request) -> Caller:
    """The user a service acts for: never more than a user, whatever role their account has."""
    named = request.headers.getall(USER_ID_HEADER, [])
    if len(named) != 1:
        raise BadRequest("A service has to say for whom it acts: send one `X-User-ID` header.")
    if not USER_ID.fullmatch(named[0]):
        raise BadRequest("`X-User-ID` must be an id of 1 to 255 characters in UTF-8.")
    if not request.app[REVOCATIONS].hold(named[0], None):
        raise AccountInactive
    return Caller(Kind.SERVICE, named[0])


async def _by_jwt(request: web.Request, token: str) -> Caller:
    tokens, issuers = request.app[TOKENS], request.app[ISSUERS]
    known = tokens.known(token) or issuers.known(token)
    if known is None:
        header, claims = parts(token)
        known = await issuers.verify(token, header, claims) if is_from_elsewhere(header) else tokens.verify(token)
    if isinstance(known, Identity):
        return _active(request, Caller(Kind.OUTSIDE, known.user_id, known.email))
    if not request.app[REVOCATIONS].hold(known.user_id, known.generation):
        raise Unauthenticated(REVOKED)
    return Caller(Kind.ACCOUNT, known.user_id, known.email, known.role, known.session_id)


async def _by_session(request: web.Request, token: str) -> Caller:
    return _active(request, Caller(Kind.OUTSIDE, await request.app[SESSION_TOKENS].user_of(token)))


def _active(request: web.Request, caller: Caller) -> Caller:
    if not request.app[REVOCATIONS].hold(caller.user_id, None):
        raise Unauthenticated(INACTIVE)
    return caller
