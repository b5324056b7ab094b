"""Errors: every exception becomes a problem document (RFC 9457); a defect is logged with its traceback."""

import asyncpg
import structlog
from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler

from todo_service import errors
from todo_service.auth.caller import REQUEST_ID
from todo_service.config.script_names import named_here
from todo_service.errors import ApiError
from todo_service.observability.request_record import RECORD
from todo_service.postgres import citus
from todo_service.postgres.failures import describe, is_schema_mismatch, is_unavailable
from todo_service.wire import problems

REMEDY = "run bin/migrate up, as a role that shares its tables with the service's"

log = structlog.get_logger()


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer an exception with its problem document, unless the client has gone away."""
    try:
        if not HttpVersion10 <= request.version <= HttpVersion11:
            raise errors.BadRequest("Speak HTTP/1.1.")
        if hdrs.EXPECT in request.headers:
            _check_expectation(request)
        return await handler(request)
    except Exception as error:
        if _client_is_gone(request, error):
            raise
        api_error = to_api_error(error)
        if (record := RECORD.get()) is not None:
            record.problem = api_error.name
        return problem_response(api_error, request_id=request[REQUEST_ID])


def problem_response(error: ApiError, *, request_id: str) -> web.Response:
    """Return the problem document of an error."""
    response = web.Response(
        body=problems.document(error, request_id=request_id),
        status=error.status,
        headers=dict(error.headers) | {"Cache-Control": "no-store"},
        content_type=problems.CONTENT_TYPE,
    )
    if error.headers.get("Connection") == "close":
        response.force_close()
    return response


def to_api_error(error: Exception) -> ApiError:
    """Return the API error that answers an exception. A defect is logged and becomes `InternalError`."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, web.HTTPException):
        return _from_aiohttp(error)
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        violation = errors.from_constraint(citus.constraint_of(error))
        if violation:
            return violation
    if is_schema_mismatch(error):
        log.error("schema_does_not_fit", error=describe(error), remedy=named_here(REMEDY))
        return errors.DatabaseUnavailable()
    if is_unavailable(error):
        log.warning("database_unavailable", kind=type(error).__name__)
        return errors.DatabaseUnavailable()
    log.error("defect", exc_info=error)
    return errors.InternalError()


def _check_expectation(request: web.Request) -> None:
    if any(value.lower() != "100-continue" for value in request.headers.getall(hdrs.EXPECT)):
        raise errors.ExpectationFailed


def _client_is_gone(request: web.Request, error: Exception) -> bool:
    """Return whether the connection of the client is lost; a database that hangs up raises the same exception."""
    transport = request.transport
    return isinstance(error, ConnectionError) and (transport is None or transport.is_closing())


def _from_aiohttp(error: web.HTTPException) -> ApiError:
    if isinstance(error, web.HTTPMethodNotAllowed):
        return errors.MethodNotAllowed(error.allowed_methods | {hdrs.METH_OPTIONS})
    by_status = {404: errors.NotFound, 417: errors.ExpectationFailed}
    return by_status.get(error.status, errors.BadRequest)()
