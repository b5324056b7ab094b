"""The whole document: the frame around the operations."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from todo_service import __version__
from todo_service.config.settings import Settings
from todo_service.openapi import headers, security
from todo_service.openapi.operations import operation, repeats_v1, tag
from todo_service.routes.table import Route
from todo_service.wire.families import FAMILIES, Family
from todo_service.wire.schemas import Schemas

ABOUT_FAMILY = "Tasks under {0}: names in {1}, a list is {2} of {3} without `limit`, an invalid body is {4}."
ABOUT = """Tasks of many users, under four families of addresses. Each is the contract of existing clients; they differ
in the columns of this table and in nothing else. A new client takes the first, the only one for administrators.

| address | names | a list is | without `limit` it has | an invalid body is |
|---|---|---|---|---|
{families}

To begin, create an account (`POST /api/v1/auth/register`), sign in (`POST /api/v1/auth/login`) and send the answer's
`access_token` with every request, as `Authorization: Bearer <token>`. On the page that tries operations out,
*Authorize* takes email and password, as `username` and `password`, or a token you have, as `accessToken`.

- A `deprecated` operation is an older path of one in v1: new code takes that one, and existing clients go on.
- Every family reads bodies in snake_case and in camelCase. Unknown fields are ignored.
- Every error is a problem document (RFC 9457): `detail` has the next step, `type` identifies the error and is an
  address of this service that explains it.
- Requests are counted, except health and metrics. `RateLimit` has the number left; beyond it the answer is 429.
- Order of refusals: 401, 429, 403, then body and parameters (413, 415, 408, 400, 422), then 404, then 412.
- A request may bring its id in `X-Request-ID` (1 to 64 letters, digits, dots, underscores or hyphens).
- HEAD is answered wherever GET is, OPTIONS everywhere; any other method is 405 with `Allow`, an unknown path 404.
- A slash at the end of a path makes no difference.
"""


def document(routes: Sequence[Route], settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI document of the rows, for a service with these settings."""
    routes = sorted(routes, key=lambda route: repeats_v1(route, routes))  # the older paths last
    schemas = Schemas(settings)
    shared: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route, routes, schemas, shared)
    _refuse_repeated(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": settings.app_name,
            "version": __version__,
            "summary": "A multi-user todo backend.",
            "description": ABOUT.format(
                families="\n".join(f"| {' | '.join(_traits(family))} |" for family in FAMILIES)
            ),
            "contact": {"name": settings.app_name},
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This service."}],
        "tags": _tags(routes),
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": dict(sorted(shared.items())),
            "headers": headers.COMPONENTS,
            "securitySchemes": security.SCHEMES,
        },
    }


def _traits(family: Family) -> tuple[str, ...]:
    """Return the traits of a family in words: address, names, list, length of a list, status."""
    fields = getattr(family.list_document, "model_fields", None)
    return (
        f"`{family.prefix}/tasks`",
        "camelCase" if family.naming == "camel" else "snake_case",
        f"an object `{{{', '.join(fields)}}}`" if fields else "an array",
        f"{family.page_size} tasks" if family.page_size else "all tasks",
        str(family.invalid_status),
    )


def _tags(routes: Iterable[Route]) -> list[dict[str, str]]:
    """Return each tag with the first sentence of its handlers' module."""
    tags: dict[str, str] = {}
    for route in routes:
        about = sys.modules[route.handler.__module__].__doc__ or ""
        if route.family:
            about = ABOUT_FAMILY.format(*_traits(route.family))
        tags.setdefault(tag(route), about.split("\n\n")[0].replace("\n", " "))
    return [{"name": name, "description": about} for name, about in tags.items()]


def _refuse_repeated(paths: dict[str, dict[str, Any]]) -> None:
    ids = Counter(operation["operationId"] for path in paths.values() for operation in path.values())
    repeated = [name for name, count in ids.items() if count > 1]
    assert not repeated, f"give these operations a `name` of their own: {repeated}"
