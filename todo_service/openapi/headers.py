"""Headers of answers."""

from typing import Any

from aiohttp import hdrs

from todo_service.limits.rate import Limit
from todo_service.middleware.request_id import HEADER as REQUEST_ID
from todo_service.routes.idempotency import HEADER as IDEMPOTENCY_KEY
from todo_service.routes.idempotency import REPLAYED
from todo_service.routes.table import Route
from todo_service.routes.task_lists import TOTAL

ETAG = "ETag"  # as RFC 9110 writes it; aiohttp has another spelling
PRINTABLE = "^[ -~]+$"
LIMITED = ("RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
WHOLE = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
COMPONENTS: dict[str, Any] = {
    REQUEST_ID: {
        "description": "The request's id, also in the log: your own `X-Request-ID`, if it has this form.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    ETAG: {
        "description": "For `If-Match` and `If-None-Match`. A task's is its version.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[^"]+"$'},
    },
    str(hdrs.LOCATION): {"description": "Where the new task is.", "schema": TEXT},
    str(hdrs.LINK): {"description": 'The next page, if there is one: `<…>; rel="next"`.', "schema": TEXT},
    TOTAL: {"description": "How many match, on all pages.", "required": True, "schema": WHOLE},
    str(hdrs.CONTENT_DISPOSITION): {"description": "A name for the file.", "required": True, "schema": TEXT},
    str(hdrs.WWW_AUTHENTICATE): {
        "description": "`Bearer`, and the fault of the credential that was sent (RFC 6750).",
        "schema": TEXT,
    },
    str(hdrs.RETRY_AFTER): {"description": "Seconds to wait before the next try.", "required": True, "schema": WHOLE},
    "RateLimit-Policy": {"description": 'The limit: `"read";q=100;w=60`.', "schema": TEXT},
    "RateLimit": {"description": 'How it stands: `"read";r=97;t=41`.', "schema": TEXT},
    "X-RateLimit-Limit": {
        "description": "How many requests are answered in a window: a minute, for API keys an hour.",
        "schema": WHOLE,
    },
    "X-RateLimit-Remaining": {"description": "How many are left.", "schema": WHOLE},
    **{
        name: {"description": "It was done before; this was the answer.", "schema": {"type": "string", "const": value}}
        for name, value in REPLAYED.items()
    },
    "X-RateLimit-Reset": {"description": "When there is one more, in seconds since 1970.", "schema": WHOLE},
}


def refer(*names: str) -> dict[str, Any]:
    """Return references to headers by name."""
    usual = [name.replace("Etag", ETAG) for name in names]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in usual}


def is_limited(route: Route) -> bool:
    """Return whether requests to the row count against a rate limit."""
    return route.limit is not Limit.NONE


def of_every_answer(route: Route) -> dict[str, Any]:
    """Return the headers of every answer of a row."""
    return refer(REQUEST_ID, *(LIMITED if is_limited(route) else ()))


def of_success(route: Route, status: int) -> dict[str, Any]:
    """Return the further headers of a success."""
    names = [name for name in route.description.response_headers if name != hdrs.LOCATION or status == 201]
    if IDEMPOTENCY_KEY in route.description.request_headers:
        names.extend(REPLAYED)
    return refer(*names)
