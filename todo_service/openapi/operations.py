"""One row as an operation: its name, its parameters, its body."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from todo_service.openapi import links, security
from todo_service.openapi.parameters import is_for_admins, parameters
from todo_service.openapi.responses import content, responses
from todo_service.routes.request_bodies import JSON, MERGE_PATCH
from todo_service.routes.table import Route
from todo_service.wire.schemas import Schemas

FOR_ADMINS = "An administrator reaches everybody's tasks here."
OLDER_PATHS = {"/api/auth/signup": "/api/v1/auth/register", "/api/auth/signin": "/api/v1/auth/login"}
BOTH_SPELLINGS = "Names may be in snake_case or in camelCase, but no field in both."


def operation(route: Route, routes: Sequence[Route], schemas: Schemas, shared: dict[str, Any]) -> dict[str, Any]:
    """Describe a row; refusals that rows have in common go to `shared`."""
    document: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "description": _description(route),
        "tags": [tag(route)],
    }
    if repeats_v1(route, routes):
        document["deprecated"] = True  # for new code; it goes on for the clients that have it
    if request_body := parameters(route, schemas):
        document["parameters"] = request_body
    if route.body is not None:
        document["requestBody"] = _body(route, schemas)
    document["responses"] = responses(route, schemas, shared)
    if linked := links.of(route, routes, operation_id):
        for status in links.STATUSES & document["responses"].keys():
            document["responses"][status]["links"] = linked
    document["security"] = security.of(route)
    return document


def operation_id(route: Route) -> str:
    """Return the name of the operation, and of the function in generated clients: `list_tasks`, `owner_list_tasks`."""
    name = route.name or route.handler.__name__
    return f"{route.family.name}_{name}" if route.family and route.family.name != "v1" else name


def repeats_v1(route: Route, routes: Sequence[Route]) -> bool:
    """Return whether a row is an older path of one in v1."""
    if route.family:
        return route.family.name != "v1"
    v1 = {row.path for row in routes if row.path.startswith("/api/v1/")}
    return OLDER_PATHS.get(route.path, route.path.replace("/api/", "/api/v1/", 1)) in v1


def tag(route: Route) -> str:
    """Return the tag of a row: its family, or the module of its handler."""
    if route.family:
        return "tasks" if route.family.name == "v1" else f"tasks: {route.family.name}"
    return route.handler.__module__.rpartition(".")[2].replace("_", "-")


def _description(route: Route) -> str:
    """The handler's docstring, without the exceptions, which the answers show."""
    text = inspect.getdoc(route.handler) or ""
    text = " ".join(text.partition("Raises")[0].split())
    if route.scopes:
        text += f" Scope: {' or '.join(f'`{scope}`' for scope in route.scopes)}."
    return f"{text} {FOR_ADMINS}" if is_for_admins(route) else text


def _body(route: Route, schemas: Schemas) -> dict[str, Any]:
    prefix = route.family.schema_prefix if route.family else ""
    media: Mapping[str, Any] = route.media or {JSON: route.body}
    if route.method == "PATCH" and not route.media:
        media = {JSON: route.body, MERGE_PATCH: route.body}
    request_body: dict[str, Any] = {"required": not route.may_be_absent}
    if JSON in media:
        request_body["description"] = BOTH_SPELLINGS
    return request_body | {"content": content(media, lambda kind: schemas.incoming(kind, prefix=prefix))}
