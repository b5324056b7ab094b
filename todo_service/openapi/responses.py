"""The answers of a row: its successes, and every refusal that follows from the row."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs

from todo_service import errors
from todo_service.auth.access import Access
from todo_service.errors import ApiError
from todo_service.openapi import headers
from todo_service.openapi.headers import is_limited
from todo_service.routes.events import LAST_EVENT_ID
from todo_service.routes.idempotency import HEADER as IDEMPOTENCY_KEY
from todo_service.routes.request_bodies import JSON
from todo_service.routes.table import LIVENESS, Route
from todo_service.wire import problems as wire
from todo_service.wire.schemas import Schema, Schemas

ANY_REQUEST = (
    errors.BadRequest,
    errors.UriTooLong,
    errors.ExpectationFailed,
    errors.HeadersTooLarge,
    errors.InternalError,
)
ANY_BODY = (errors.BodyTimeout, errors.BodyTooLarge, errors.UnsupportedMediaType)
BY_ACCESS: Mapping[Access, tuple[type[ApiError], ...]] = {
    Access.PUBLIC: (),
    Access.USER: (),
    Access.PERSON: (),
    Access.ACCOUNT: (errors.NoPasswordAccount,),
    Access.ADMIN: (errors.AdminOnly,),
}
OF_ANY_CALLER = (errors.Unauthenticated, errors.AccountInactive, errors.IssuerUnavailable)
BY_HEADER: Mapping[str, tuple[type[ApiError], ...]] = {
    hdrs.IF_MATCH: (errors.PreconditionFailed,),
    hdrs.IF_NONE_MATCH: (),
    LAST_EVENT_ID: (),
    IDEMPOTENCY_KEY: (errors.IdempotencyKeyReused, errors.ValidationFailed),
}
OF_STATUS: Mapping[int, tuple[str, ...]] = {
    401: (hdrs.WWW_AUTHENTICATE,),
    410: (hdrs.RETRY_AFTER,),
    429: (hdrs.RETRY_AFTER,),
    503: (hdrs.RETRY_AFTER,),
}


def responses(route: Route, schemas: Schemas, shared: dict[str, Any]) -> dict[str, Any]:
    """Return all answers of a row by status. Refusals that rows have in common are in `shared`."""
    prefix = route.family.schema_prefix if route.family else ""
    answers = {status: _success(route, status, schemas, prefix) for status in route.description.answers}
    if hdrs.IF_NONE_MATCH in route.description.request_headers:
        not_modified = headers.of_every_answer(route) | headers.refer(hdrs.ETAG)
        answers[304] = {"description": "Your copy is current.", "headers": not_modified}
    refusals: dict[int, list[type[ApiError]]] = defaultdict(list)
    for kind in dict.fromkeys(refusals_of(route)):
        refusals[status_of(route, kind)].append(kind)
    for status, kinds in refusals.items():
        refusal = _refusal(route, status, kinds, schemas)
        if status in answers:  # an answer with more in it than a problem document
            answers[status] = refusal | {"content": refusal["content"] | answers[status]["content"]}
        else:
            name = "Or".join(kind.__name__ for kind in kinds) + ("" if is_limited(route) else "Unlimited")
            is_shared = shared.setdefault(name, refusal) == refusal
            answers[status] = {"$ref": f"#/components/responses/{name}"} if is_shared else refusal
    return {str(status): answers[status] for status in sorted(answers)}


def refusals_of(route: Route) -> Iterator[type[ApiError]]:
    """Yield every problem type that may answer a request to the row."""
    yield from ANY_REQUEST
    yield from route.description.errors
    if is_limited(route):
        yield errors.RateLimited
    if not route.vital:
        yield errors.MisdirectedRequest
    if route.path != LIVENESS:
        yield errors.Overloaded
    if route.access is not Access.PUBLIC or route.description.may_identify:
        yield from OF_ANY_CALLER
    if route.access is not Access.PUBLIC:
        yield errors.InsufficientScope
    yield from BY_ACCESS[route.access]
    if route.access is not Access.PUBLIC or route.body:
        yield errors.DatabaseUnavailable
    yield from _by_what_is_sent(route)


def _by_what_is_sent(route: Route) -> Iterator[type[ApiError]]:
    if "{user_id}" in route.path:
        yield errors.Forbidden
    if "{" in route.path.rpartition("{user_id}")[2]:
        yield errors.NotFound
    if route.any_owner:
        yield errors.AmbiguousTask
    if route.body:
        yield from ANY_BODY
        yield errors.MalformedBody
    if route.body or route.query:
        yield errors.ValidationFailed
    for name in route.description.request_headers:
        yield from BY_HEADER[name]


def status_of(route: Route, kind: type[ApiError]) -> int:
    """Return the status of a refusal; that of an invalid body is the family's."""
    return route.invalid_status if kind is errors.ValidationFailed else kind.status


def content(media: Mapping[str, Any], schema: Callable[[Any], Schema]) -> dict[str, Any]:
    """Return media types with their schemas. The example of a schema without a name is shown beside it."""
    schemas = {name: schema(kind) for name, kind in media.items()}
    return {
        name: {"schema": kind} | ({"example": kind["examples"][0]} if "examples" in kind else {})
        for name, kind in schemas.items()
    }


def _success(route: Route, status: int, schemas: Schemas, prefix: str) -> dict[str, Any]:
    answer = route.description.answers[status]
    answer_object: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "headers": headers.of_every_answer(route)
        | headers.of_success(route, status)
        | headers.refer(*OF_STATUS.get(status, ())),
    }
    if answer is not None:
        media = answer if isinstance(answer, Mapping) else {JSON: answer}
        answer_object["content"] = content(media, lambda kind: schemas.outgoing(kind, prefix=prefix))
    return answer_object


def _refusal(route: Route, status: int, kinds: list[type[ApiError]], schemas: Schemas) -> dict[str, Any]:
    named_headers = headers.of_every_answer(route) | headers.refer(*OF_STATUS.get(status, ()))
    if status == 412 and hdrs.IF_MATCH in route.description.request_headers:
        named_headers |= headers.refer(hdrs.ETAG)
    if errors.InsufficientScope in kinds:
        named_headers |= headers.refer(hdrs.WWW_AUTHENTICATE)
    titles = [*dict.fromkeys(kind.title for kind in kinds)]
    return {
        "description": titles[0] if len(titles) == 1 else f"One of: {'; '.join(titles)}",
        "headers": named_headers,
        "content": {wire.CONTENT_TYPE: {"schema": _one_of(kinds, schemas)}},
    }


def _one_of(kinds: list[type[ApiError]], schemas: Schemas) -> Schema:
    answers = {f"/problems/{kind.name}": schemas.outgoing(wire.MODELS[kind]) for kind in kinds}
    if len(answers) == 1:
        return next(iter(answers.values()))
    mapping = {name: schema["$ref"] for name, schema in answers.items()}
    return {"oneOf": [*answers.values()], "discriminator": {"propertyName": "type", "mapping": mapping}}
