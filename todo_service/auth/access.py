"""The gate in front of each route: who is calling, and may they. What is not allowed by a route's row is refused."""

from enum import Enum

from aiohttp import web

from todo_service.auth.caller import CALLER, OWNER, Caller, Kind
from todo_service.auth.credentials import identify
from todo_service.auth.rate_limiting import charge_address, charge_user
from todo_service.errors import AdminOnly, ApiError, Forbidden, NoPasswordAccount, Unauthenticated
from todo_service.limits.fair_share import USER
from todo_service.limits.rate import Limit
from todo_service.observability.metrics import METRICS


class Access(Enum):
    """Who may use a route: anybody (a credential is not even looked at), a user who said who they are, only one who did
    so with a token of a sign-in here, or an administrator.
    """

    PUBLIC = "public"
    USER = "user"
    ACCOUNT = "account"
    ADMIN = "admin"


async def admit(request: web.Request, access: Access, limit: Limit) -> None:
    """Let the caller through, count the request against their limit, and remember them in the request.

    Raises what `identify` raises, `RateLimited`, `NoPasswordAccount`, `AdminOnly`, or `Forbidden` if the path names
    another user: nobody, not even an administrator, uses somebody else's path.
    """
    USER.set(None)  # a connection may have served somebody else before
    if access is Access.PUBLIC:
        await charge_address(request, limit)
        return
    caller = request[CALLER] = await _identified(request, limit)
    await charge_user(request, limit, caller.user_id)
    USER.set(caller.user_id)
    if access is Access.ACCOUNT and caller.kind is not Kind.ACCOUNT:
        raise NoPasswordAccount
    if access is Access.ADMIN and not caller.is_admin:
        raise AdminOnly
    owner_in_path = request.match_info.get("user_id", caller.user_id)
    if owner_in_path != caller.user_id:
        raise Forbidden
    request[OWNER] = caller.user_id


async def _identified(request: web.Request, limit: Limit) -> Caller:
    """Who is nobody is counted by address; a good credential is not refused for what others did at the same one."""
    try:
        return await identify(request)
    except ApiError as error:
        if isinstance(error, Unauthenticated):
            request.app[METRICS].auth_event("token", "refused" if error.shown else "absent")
        await charge_address(request, limit)
        raise
