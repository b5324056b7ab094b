"""Authentication and authorization, by the row of the matched route.

The default is refusal: a route without a row is served to no caller, whichever code registered it. Refusals come in
the order 401, 429, 403, before a byte of the body is read.
"""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from todo_service.auth.access import Access, check_scope
from todo_service.auth.caller import ADMIN, CALLER, OWNER, Caller, Kind
from todo_service.auth.credentials import identify
from todo_service.auth.rate_limiting import spend_for_address, spend_for_user
from todo_service.auth.tickets import TICKETS, TOKEN
from todo_service.errors import (
    AdminOnly,
    ApiError,
    Forbidden,
    InsufficientScope,
    InternalError,
    NoPasswordAccount,
    Unauthenticated,
)
from todo_service.limits.rate import Limit
from todo_service.middleware.cors import answer_options
from todo_service.observability.metrics import METRICS
from todo_service.observability.request_record import RECORD
from todo_service.routes.strict_handling import STRICT
from todo_service.routes.table import Route, matched_row

log = structlog.get_logger()


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the request through if the row of its route allows it, with `CALLER` and `OWNER` set.

    404, 405 and OPTIONS are the same for every caller, authenticated or not.

    Raises:
        InternalError: The route has no row, which is a defect.
        Unauthenticated, BadRequest, IssuerUnavailable, AccountInactive: From `identify`.
        RateLimited: The caller has used up the limit of the row.
        InsufficientScope, NoPasswordAccount, AdminOnly: The row does not let the caller in.
        Forbidden: The path names another user; this holds for administrators too.
    """
    if request.match_info.http_exception is not None:
        return await answer_options(request) or await handler(request)
    row = matched_row(request)
    if row is None:
        log.error("route_without_row", method=request.method, resource=str(request.match_info.route.resource))
        raise InternalError
    limit = row.limit or Limit.NONE
    if row.access is Access.PUBLIC:
        await spend_for_address(request, limit)
        return await handler(request)
    try:
        if row.takes_ticket and (ticket := request.query.get("ticket")):
            request[TOKEN] = request.app[TICKETS].open(ticket)
        caller = await identify(request)
    except ApiError as error:
        await _count_refused(request, limit, error)
        raise
    request[CALLER] = caller
    if caller.is_strict:
        request[STRICT] = True
    request.app[METRICS].count_caller(caller.kind)
    if (record := RECORD.get()) is not None:
        record.user_id, record.caller, record.source = caller.user_id, caller.kind, caller.source
        record.owners = None if caller.role == ADMIN else frozenset((caller.user_id,))
    await spend_for_user(request, limit, caller.user_id)
    _check_access(request, row, caller)
    request[OWNER] = caller.user_id
    return await handler(request)


def _check_access(request: web.Request, row: Route, caller: Caller) -> None:
    if caller.scopes is not None:
        check_scope(caller, *row.scopes)
    if row.access is Access.PERSON and caller.kind is Kind.SERVICE:
        raise InsufficientScope
    if row.access is Access.ACCOUNT and caller.kind is not Kind.ACCOUNT:
        raise NoPasswordAccount
    if row.access is Access.ADMIN and caller.role != ADMIN:
        raise AdminOnly
    if request.match_info.get("user_id", caller.user_id) != caller.user_id:
        raise Forbidden


async def _count_refused(request: web.Request, limit: Limit, error: ApiError) -> None:
    """Count a request without a valid credential for its address: valid ones from there are not limited by it."""
    if isinstance(error, Unauthenticated):
        request.app[METRICS].auth_event("token", "refused" if error.credential_sent else "absent")
    await spend_for_address(request, limit)
