"""The description of the API, for tools: these pages are made of it. It is made once, at the start."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from aiohttp import hdrs, web

from todo_service.auth.access import Access
from todo_service.routes import responses
from todo_service.routes.descriptions import describe
from todo_service.routes.table import Route
from todo_service.wire import etags
from todo_service.wire.system import OpenApi

PUBLIC = {"Cache-Control": "public, no-cache"}  # the same for every caller, until the next release


@dataclass(frozen=True)
class OpenApiDocument:
    """The document as bytes."""

    body: bytes

    @cached_property
    def tag(self) -> str:
        return etags.of_content(blake2b(self.body, digest_size=16).hexdigest())


OPENAPI_DOCUMENT = web.AppKey("openapi_document", OpenApiDocument)


@describe({200: OpenApi}, request_headers=(hdrs.IF_NONE_MATCH,), response_headers=(hdrs.ETAG,))
async def read_openapi(request: web.Request) -> web.Response:
    """Describe the API, in OpenAPI 3.1."""
    document = request.app[OPENAPI_DOCUMENT]
    headers = PUBLIC | {"ETag": document.tag}
    if etags.matches(request.headers.getall(hdrs.IF_NONE_MATCH, []), document.tag):
        return web.Response(status=304, headers=headers)
    return responses.json_bytes(document.body, headers=headers)


OPENAPI = (
    Route("GET", "/openapi.json", read_openapi, Access.PUBLIC, "This description"),
    Route(
        "GET",
        "/api/v1/openapi.json",
        read_openapi,
        Access.PUBLIC,
        "This description, under `/api/v1`",
        name="v1_read_openapi",
    ),
)
