"""The parameters of a request besides its body: variables of the path, the query, headers."""

import re
from collections.abc import Iterator
from typing import Any

from aiohttp import hdrs

from todo_service.errors import kinds
from todo_service.openapi import headers
from todo_service.routes.events import LAST_EVENT_ID
from todo_service.routes.idempotency import HEADER as IDEMPOTENCY_KEY
from todo_service.routes.idempotency import MAX_KEY
from todo_service.routes.table import Route
from todo_service.wire.schemas import Schema, Schemas

USER_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
IN_PATH: dict[str, tuple[str, Schema]] = {
    "user_id": ("Your own id.", USER_ID),
    "task_id": ("The task's id.", {"type": "string", "format": "uuid"}),
    "token_id": ("The token's id.", {"type": "string", "format": "uuid"}),
    "session_id": ("The session's id.", {"type": "string", "format": "uuid"}),
    "account_id": ("The account's id.", USER_ID),
    "name": ("The last part of a problem's `type`.", {"type": "string", "enum": sorted(kind.name for kind in kinds())}),
}
IN_HEADERS: dict[str, tuple[str, Schema]] = {
    hdrs.IF_MATCH: ("Do it only if the task is at this `ETag`, else answer 412.", {"type": "string"}),
    LAST_EVENT_ID: ("The id of the last event that arrived.", {"type": "string"}),
    hdrs.IF_NONE_MATCH: ("Answer 304 if the present state has this `ETag`.", {"type": "string"}),
    IDEMPOTENCY_KEY: (
        "The same for each try of one request, so that it is done once. Kept for 24 hours.",
        {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": headers.PRINTABLE},
    ),
}
ALL = "How many at most; without it: all."
OWNER_ID = "For administrators: the owner of the task, if several users chose its id."


def parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    """Return all parameters of a row, in the order of path, query, headers."""
    return [*_path(route), *_query(route, schemas), *_headers(route)]


def is_for_admins(route: Route) -> bool:
    """Return whether an administrator is served differently."""
    return route.any_owner or route.admin_handler is not None


def _path(route: Route) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", route.path):
        about, schema = IN_PATH.get(name, ("", {"type": "string"}))
        yield {"name": name, "in": "path", "required": True, "description": about, "schema": schema}


def _query(route: Route, schemas: Schemas) -> Iterator[dict[str, Any]]:
    for_admins = is_for_admins(route)
    fields = schemas.parameters(route.query) if route.query else {}
    for name, schema in fields.items():
        if name != "user_id" or for_admins:
            if name == "limit" and route.family:
                schema |= {"default": size} if (size := route.family.page_size) else {"description": ALL}
            about = schema.pop("description", "")
            yield {"name": name, "in": "query", "required": False, "description": about, "schema": schema}
    if for_admins and not fields:
        schema = {"type": "string"}
        yield {"name": "user_id", "in": "query", "required": False, "description": OWNER_ID, "schema": schema}


def _headers(route: Route) -> Iterator[dict[str, Any]]:
    for name in route.description.request_headers:
        about, schema = IN_HEADERS[name]
        yield {"name": str(name), "in": "header", "required": False, "description": about, "schema": schema}
