"""Routes are data: a row states the method, the path, the callers it lets in, and the body and query it reads.

`register` makes the rows answer. `middleware/auth.py` authenticates a request by the row of its matched route; then the
endpoint made here reads the query and the body (413, 415, 408, 400, 422) and calls the handler, with its 404 and 412.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from todo_service.auth.access import Access, owner_for_admin
from todo_service.auth.caller import ADMIN, CALLER, OWNER
from todo_service.config.scopes import Scope
from todo_service.config.settings import SETTINGS
from todo_service.limits.rate import Limit
from todo_service.observability.metrics import METRICS
from todo_service.observability.tallies import UNMATCHED
from todo_service.routes import request_bodies
from todo_service.routes.descriptions import Description, HandlerFunction, description_of
from todo_service.routes.strict_handling import PREFER, STRICT, check_query, prefers_strict, strictly
from todo_service.wire import codec
from todo_service.wire.codec import Input, Naming
from todo_service.wire.families import FAMILIES, FAMILY, Family
from todo_service.wire.tasks import parse_task_id

# User ids are opaque, so `/api/{user_id}/tasks` would swallow its neighbours: these first segments are not ids.
RESERVED = ("v[0-9]+", "users", "auth", "tasks", "user-api-keys")
PATTERNS = {
    "/api/{user_id}/": "/api/{user_id:(?!(?:" + "|".join(RESERVED) + ")/)[^/]+}/",
    "/api/users/{user_id}/": "/api/users/{user_id:[^/]+}/",
    "/{account_id}": "/{account_id:[^/]+}",
    "/api/v1/tasks/{task_id}": "/api/v1/tasks/{task_id:(?!batch/?$)[^/]+}",  # a batch has a row of its own
}

LIVENESS = "/health/live"  # answers whatever the load is
MAX_QUERIES = 500  # validated ones that each route keeps
MAX_QUERY_LENGTH = 200  # characters of one that is kept


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint.

    Attributes:
        handler: Called with the request, then the validated body if `body` names a model (None for an absent one if it
            `may_be_absent`) or the bytes if it is `bytes`, then the validated query if `query` names a model.
        access: The callers that it lets in.
        scopes: A credential that is limited to scopes needs one of these; without any it is refused.
        limit: The rate limit; by default a GET counts as a read and every other method as a write.
        max_body: Bytes.
        reads_body: Whether the handler reads the body itself; `body` and `media` describe it then.
        media: The media types of the body and their models; empty for JSON.
        any_owner: Whether an administrator reaches the tasks of every user, where the family is for administrators.
        admin_handler: Called instead of the handler for an administrator, under the same condition.
        vital: Whether it answers under overload, and to every `Host`.
        takes_ticket: Whether `?ticket=` stands for a header with a token.
        render: Writes the handler's result, where rows of one handler differ.
        answers: The answers of success, where rows of one handler differ; else those of its description.
        name: The name of the operation, if it is not that of the handler.
    """

    method: str
    path: str
    handler: HandlerFunction
    access: Access
    summary: str
    scopes: tuple[Scope, ...] = ()
    body: type[Input] | type[bytes] | None = None
    may_be_absent: bool = False
    max_body: int = request_bodies.MAX_BODY
    reads_body: bool = False
    media: Mapping[str, Any] = field(default_factory=dict)
    query: type[Input] | None = None
    family: Family | None = None
    limit: Limit | None = None
    any_owner: bool = False
    admin_handler: HandlerFunction | None = None
    vital: bool = False
    takes_ticket: bool = False
    render: Callable[..., Any] | None = None
    answers: Mapping[int, Any] | None = None
    name: str = ""

    @property
    def description(self) -> Description:
        """The OpenAPI description of the handler, with the answers of this row."""
        description = description_of(self.handler)
        answers = description.answers if self.answers is None else self.answers
        if self.family:
            answers = {status: self.family.describe(answer) for status, answer in answers.items()}
        return replace(description, answers=answers)

    @property
    def invalid_status(self) -> int:
        return self.family.invalid_status if self.family else 422


def expand(routes: Iterable[Route], families: Iterable[Family] = FAMILIES) -> Iterator[Route]:
    """Yield each row once for each family, under the family's prefix."""
    for family in families:
        for route in routes:
            yield replace(
                route,
                path=family.prefix + route.path,
                family=family,
                any_owner=route.any_owner and family.for_admins,
                admin_handler=route.admin_handler if family.for_admins else None,
            )


def register(app: web.Application, routes: Iterable[Route]) -> None:
    """Make the rows answer. A path with a trailing slash is answered as the path without it."""
    slashed: list[tuple[str, str, Handler]] = []  # registered last: a resource is found sooner without them
    for row in routes:
        limit = row.limit or (Limit.READ if row.method == hdrs.METH_GET else Limit.WRITE)
        route = replace(row, limit=limit)
        endpoint = _endpoint(route)
        methods = (hdrs.METH_GET, hdrs.METH_HEAD) if route.method == hdrs.METH_GET else (route.method,)
        path = _pattern(route.path)
        app[METRICS].add_route(route.method, route.path)
        for method in methods:
            app.router.add_route(method, path, endpoint, expect_handler=_leave_expectation)
            if not path.endswith("/"):
                slashed.append((method, f"{path}/", endpoint))
    for method, path, endpoint in slashed:
        app.router.add_route(method, path, endpoint, expect_handler=_leave_expectation)


def matched_row(request: web.Request) -> Route | None:
    """Return the row of the matched route; None if no route matches, or if the route has no row."""
    row = getattr(request.match_info.handler, "row", None)
    return row if isinstance(row, Route) else None


def template(request: web.Request) -> str:
    """Return the path of the matched row with the names of its variables, or `unmatched`."""
    row = matched_row(request)
    return row.path if row else UNMATCHED


def _pattern(path: str) -> str:
    for plain, pattern in PATTERNS.items():
        path = path.replace(plain, pattern)
    return path


def _endpoint(route: Route) -> Handler:
    queries: dict[str, Input] = {}

    async def endpoint(request: web.Request) -> web.StreamResponse:
        if route.family:
            request[FAMILY] = route.family
        if STRICT in request or (PREFER in request.headers and prefers_strict(request)):
            accepted = {"user_id"} if route.any_owner else set[str]()
            check_query(request, route.query or Input, route.invalid_status, accepted)
        inputs: list[Input | bytes | None] = []
        if route.body and not route.reads_body:
            inputs.append(await _read_body(request, route, route.body))
        if route.query:
            inputs.append(_read_query(request, route, route.query, queries))
        if (route.any_owner or route.admin_handler) and request[CALLER].role == ADMIN:
            return await _answer_admin(request, route, inputs)
        return await route.handler(request, *inputs)

    endpoint.row = route  # type: ignore[attr-defined]
    return endpoint


async def _answer_admin(request: web.Request, route: Route, inputs: list[Input | bytes | None]) -> web.StreamResponse:
    """Call the handler of administrators, or set the owner of the task first: after the body is checked."""
    if route.any_owner and (task_id := parse_task_id(request.match_info["task_id"])):
        request[OWNER] = await owner_for_admin(request, task_id, request[CALLER].user_id)
    return await (route.admin_handler or route.handler)(request, *inputs)


def _read_query(request: web.Request, route: Route, model: type[Input], known: dict[str, Input]) -> Input:
    """Return the validated query. The same text is validated once: most clients send the same few."""
    text = request.rel_url.raw_query_string
    query = known.get(text)
    if query is None:
        values = codec.query_values(model, request.query, invalid_status=route.invalid_status)
        query = _validate(request, route, model, values)
        if len(known) >= MAX_QUERIES:
            known.clear()
        if len(text) <= MAX_QUERY_LENGTH:
            known[text] = query
    return query


async def _read_body(request: web.Request, route: Route, model: type[Input] | type[bytes]) -> Input | bytes | None:
    raw = await request_bodies.read(request, max_size=route.max_body, accepted=route.media)
    if issubclass(model, bytes):
        return raw
    if not raw and route.may_be_absent:
        return None
    is_large = len(raw) > request_bodies.MAX_BODY  # then a thread parses it, and other requests go on
    document = await asyncio.to_thread(codec.load_large, raw) if is_large else codec.load(raw)
    if STRICT in request:
        with strictly(model, document, _naming(route), route.invalid_status):
            return _validate(request, route, model, document, of_body=True)
    return _validate(request, route, model, document, of_body=True)


def _validate(
    request: web.Request, route: Route, model: type[Input], document: object, *, of_body: bool = False
) -> Input:
    return codec.validate(
        model,
        document,
        context=request.app[SETTINGS],
        naming=_naming(route) if of_body else "snake",
        invalid_status=route.invalid_status,
    )


def _naming(route: Route) -> Naming:
    return route.family.naming if route.family else "snake"


async def _leave_expectation(request: web.Request) -> None:
    """Leave `Expect: 100-continue` to the reader of the body, which runs once the caller is authenticated."""
