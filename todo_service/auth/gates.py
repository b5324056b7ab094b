"""The gate in front of each route: who is calling, and may they. What is not allowed by a route's row is refused."""

from enum import Enum

from aiohttp import hdrs, web

from todo_service.auth.caller import CALLER, OWNER, Caller
from todo_service.auth.revocations import REVOCATIONS
from todo_service.auth.tokens import AccessTokens, TokenError
from todo_service.errors import AdminOnly, Forbidden, Unauthenticated

TOKENS = web.AppKey("tokens", AccessTokens)


class Access(Enum):
    """Who may use a route: anybody (a credential is not even looked at), a user who said who they are, an admin."""

    PUBLIC = "public"
    USER = "user"
    ADMIN = "admin"


def admit(request: web.Request, access: Access) -> None:
    """Let the caller through and remember them in the request. Raises `Unauthenticated`, `AdminOnly`, or `Forbidden`
    if the path names another user: nobody, not even an administrator, uses somebody else's path.
    """
    if access is Access.PUBLIC:
        return
    caller = request[CALLER] = identify(request)
    if access is Access.ADMIN and not caller.is_admin:
        raise AdminOnly
    owner_in_path = request.match_info.get("user_id", caller.user_id)
    if owner_in_path != caller.user_id:
        raise Forbidden
    request[OWNER] = caller.user_id


def identify(request: web.Request) -> Caller:
    """The caller by the `Authorization` header (RFC 6750 section 2.1). Raises `Unauthenticated`."""
    shown = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not shown:
        raise Unauthenticated(shown=False)
    scheme, _, token = shown[0].partition(" ")
    if len(shown) > 1 or scheme.lower() != "bearer":
        raise Unauthenticated("Send one `Authorization` header with `Bearer <token>`.")
    try:
        claims = request.app[TOKENS].verify(token.strip(" "))
    except TokenError as error:
        raise Unauthenticated(str(error)) from None
    if not request.app[REVOCATIONS].hold(claims.user_id, claims.generation):
        raise Unauthenticated("The token has been revoked. Sign in again.")
    return Caller(claims.user_id, claims.email, claims.role, claims.session_id)
