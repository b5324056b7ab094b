"""Every refusal and every defect becomes a problem document here, and nothing internal leaves."""

import asyncpg
import structlog
from aiohttp import HttpVersion10, hdrs, web
from aiohttp.typedefs import Handler

from todo_service import errors
from todo_service.auth.caller import PROBLEM, REQUEST_ID
from todo_service.errors import ApiError
from todo_service.middleware.hosts import refuse_other_hosts
from todo_service.postgres.failures import told, unavailable, unfit
from todo_service.wire import problems

REMEDY = "run bin/migrate up, as a role whose tables ours may use"

log = structlog.get_logger()


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer, or say in the one shape of all errors why not."""
    try:
        refuse_other_hosts(request)
        refuse_what_no_route_takes(request)
        return await handler(request)
    except Exception as error:
        if _client_is_gone(request, error):
            raise
        refusal = meaning(error)
        request[PROBLEM] = refusal.name
        return problem(refusal, request_id=request[REQUEST_ID])


def refuse_what_no_route_takes(request: web.Request) -> None:
    """Raise `BadRequest` for HTTP before 1.0, `ExpectationFailed` for what no route can meet."""
    if request.version < HttpVersion10:
        raise errors.BadRequest("Speak HTTP/1.1.")
    if any(value.lower() != "100-continue" for value in request.headers.getall(hdrs.EXPECT, [])):
        raise errors.ExpectationFailed


def _client_is_gone(request: web.Request, error: Exception) -> bool:
    """Whether there is nobody left to answer; a database that hangs up is another matter."""
    transport = request.transport
    return isinstance(error, ConnectionError) and (transport is None or transport.is_closing())


def problem(error: ApiError, *, request_id: str) -> web.Response:
    """The answer of a refusal."""
    response = web.Response(
        body=problems.document(error, request_id=request_id),
        status=error.status,
        headers=dict(error.headers) | {"Cache-Control": "no-store"},
        content_type=problems.CONTENT_TYPE,
    )
    if error.headers.get("Connection") == "close":
        response.force_close()
    return response


def meaning(error: Exception) -> ApiError:
    """What an exception means to the caller. A defect is logged with its traceback, and means no more than that."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, web.HTTPException):
        return of_framework(error)
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        known = errors.from_constraint(error.constraint_name)
        if known:
            return known
    if unfit(error):
        log.error("schema_does_not_fit", error=told(error), remedy=REMEDY)
        return errors.DatabaseUnavailable()
    if unavailable(error):
        log.warning("database_unavailable", kind=type(error).__name__)
        return errors.DatabaseUnavailable()
    log.error("defect", exc_info=error)
    return errors.InternalError()


def of_framework(error: web.HTTPException) -> ApiError:
    """The refusals that aiohttp itself raises."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return errors.MethodNotAllowed(error.allowed_methods | {hdrs.METH_OPTIONS})
    by_status = {404: errors.NotFound, 417: errors.ExpectationFailed}
    return by_status.get(error.status, errors.BadRequest)()
