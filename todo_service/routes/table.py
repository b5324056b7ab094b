"""Routes are data: one row says method, path, who may, what comes in. Here a row becomes a handler aiohttp can call.

The order of refusals is the order of the lines of `_guarded`: 401, 429, 403, then the body (413, 415, 408, 400,
422), and only then the handler with its 404.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from todo_service.auth.access import Access, admit
from todo_service.auth.caller import CALLER
from todo_service.config.settings import SETTINGS
from todo_service.errors import ApiError
from todo_service.limits.rate import Limit
from todo_service.observability.metrics import METRICS, UNMATCHED
from todo_service.routes import request_bodies
from todo_service.wire import codec
from todo_service.wire.codec import Input, Naming
from todo_service.wire.families import FAMILIES, FAMILY, Family

# Ids of users are opaque, so `/api/{user_id}/tasks` would swallow its neighbours: these first segments are not ids.
RESERVED = ("v[0-9]+", "users", "auth", "tasks", "user-api-keys")
PATTERNS = {
    "/api/{user_id}/": "/api/{user_id:(?!(?:" + "|".join(RESERVED) + ")/)[^/]+}/",
    "/api/users/{user_id}/": "/api/users/{user_id:[^/]+}/",
    "/{account_id}": "/{account_id:[^/]+}",
    "/api/v1/tasks/{task_id}": "/api/v1/tasks/{task_id:(?!batch/?$)[^/]+}",  # a batch has a row of its own
}


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that can be asked.

    `handler` takes the request, then the checked body if `body` names a model (None for an absent one if it
    `may_be_absent`) or the bytes themselves if it is `bytes`, then the checked query if `query` names one. A body has
    at most `max_body` bytes and is of one of the `media` types (none named: JSON). An administrator gets `as_admin`
    instead where the family is for them. It is counted as `limit` says; if that says nothing, a GET reads and
    everything else writes. A `vital` route answers however many requests there are, and whatever host they name.

    The rest is for the description of the API, where it does not follow from the above: what is answered for each
    status of success, the request headers it `takes`, the headers of success it `gives`, what it `raises`, whether a
    public route `may_identify` its caller, and the `name` of the operation if it is not that of the handler.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[web.StreamResponse]]
    access: Access
    summary: str
    body: type[Input] | type[bytes] | None = None
    may_be_absent: bool = False
    max_body: int = request_bodies.MAX_BODY
    media: Mapping[str, Any] = field(default_factory=dict)
    query: type[Input] | None = None
    as_admin: Callable[..., Awaitable[web.StreamResponse]] | None = None
    family: Family | None = None
    limit: Limit | None = None
    vital: bool = False
    answers: Mapping[int, Any] = field(default_factory=dict)
    takes: Collection[str] = ()
    gives: Collection[str] = ()
    raises: Collection[type[ApiError]] = ()
    may_identify: bool = False
    name: str = ""

    @property
    def counted_as(self) -> Limit:
        return self.limit or (Limit.READ if self.method == hdrs.METH_GET else Limit.WRITE)

    @property
    def invalid_status(self) -> int:
        return self.family.invalid_status if self.family else 422


def expand(routes: Iterable[Route], families: Iterable[Family] = FAMILIES) -> Iterator[Route]:
    """Each row once for each family, under the family's prefix."""
    for family in families:
        for route in routes:
            answers = {status: family.described(answer) for status, answer in route.answers.items()}
            yield replace(route, path=family.prefix + route.path, family=family, answers=answers)


def register(app: web.Application, routes: Iterable[Route]) -> None:
    """Make the rows answer. A path with a slash at its end is the path without it."""
    for route in routes:
        handler = _guarded(route)
        methods = (hdrs.METH_GET, hdrs.METH_HEAD) if route.method == hdrs.METH_GET else (route.method,)
        path = _pattern(route.path)
        app[METRICS].follow(route.method, route.path)
        for spelling, method in product({path, path.rstrip("/") + "/"}, methods):
            app.router.add_route(method, spelling, handler, expect_handler=_expect_later)


def row(request: web.Request) -> Route | None:
    """The row that takes the request, if any does."""
    route: Route | None = getattr(request.match_info.handler, "route", None)
    return route


def template(request: web.Request) -> str:
    """The path of the request's row, with names for its variables; "unmatched" if there is no such row."""
    route = row(request)
    return route.path if route else UNMATCHED


def _pattern(path: str) -> str:
    for plain, pattern in PATTERNS.items():
        path = path.replace(plain, pattern)
    return path


def _guarded(route: Route) -> Handler:
    as_admin = route.as_admin if route.family and route.family.for_admins else None

    async def handler(request: web.Request) -> web.StreamResponse:
        await admit(request, route.access, route.counted_as)
        if route.family:
            request[FAMILY] = route.family
        inputs: list[Input | bytes | None] = []
        if route.body:
            inputs.append(await _body(request, route, route.body))
        if route.query:
            values = codec.query_values(route.query, request.query, invalid_status=route.invalid_status)
            inputs.append(_checked(request, route, route.query, values, naming="snake"))
        if as_admin and request[CALLER].is_admin:
            return await as_admin(request, *inputs)
        return await route.handler(request, *inputs)

    handler.route = route  # type: ignore[attr-defined]
    return handler


async def _body(request: web.Request, route: Route, model: type[Input] | type[bytes]) -> Input | bytes | None:
    raw = await request_bodies.body(request, max_size=route.max_body, accepted=route.media)
    if issubclass(model, bytes):
        return raw
    if not raw and route.may_be_absent:
        return None
    is_large = len(raw) > request_bodies.MAX_BODY  # then others have their turn while it is read
    document = await asyncio.to_thread(codec.load_large, raw) if is_large else codec.load(raw)
    return _checked(request, route, model, document, naming=route.family.naming if route.family else "snake")


def _checked(request: web.Request, route: Route, model: type[Input], document: object, *, naming: Naming) -> Input:
    settings = request.app[SETTINGS]
    return codec.check(model, document, context=settings, naming=naming, invalid_status=route.invalid_status)


async def _expect_later(request: web.Request) -> None:
    """`Expect: 100-continue` is answered where the body is read, once the caller is known."""
