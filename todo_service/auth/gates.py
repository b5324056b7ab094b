"""The gate in front of each route: who is calling, and may they. What is not allowed by a route's row is refused."""

from enum import Enum

from aiohttp import web

from todo_service.auth.caller import CALLER, OWNER, Caller, Kind
from todo_service.auth.credentials import identify
from todo_service.errors import AdminOnly, Forbidden, NoPasswordAccount, Unauthenticated
from todo_service.metrics import METRICS


class Access(Enum):
    """Who may use a route: anybody (a credential is not even looked at), a user who said who they are, only one who did
    so with a token of a sign-in here, or an administrator.
    """

    PUBLIC = "public"
    USER = "user"
    ACCOUNT = "account"
    ADMIN = "admin"


async def admit(request: web.Request, access: Access) -> None:
    """Let the caller through and remember them in the request.

    Raises what `identify` raises, `NoPasswordAccount`, `AdminOnly`, or `Forbidden` if the path names another user:
    nobody, not even an administrator, uses somebody else's path.
    """
    if access is Access.PUBLIC:
        return
    caller = request[CALLER] = await _identified(request)
    if access is Access.ACCOUNT and caller.kind is not Kind.ACCOUNT:
        raise NoPasswordAccount
    if access is Access.ADMIN and not caller.is_admin:
        raise AdminOnly
    owner_in_path = request.match_info.get("user_id", caller.user_id)
    if owner_in_path != caller.user_id:
        raise Forbidden
    request[OWNER] = caller.user_id


async def _identified(request: web.Request) -> Caller:
    try:
        return await identify(request)
    except Unauthenticated as error:
        request.app[METRICS].auth_event("token", "refused" if error.shown else "absent")
        raise
