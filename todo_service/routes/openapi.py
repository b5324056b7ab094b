"""The description of the API, for tools: these pages are made of it. It is made once, at the start."""

import gzip
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from aiohttp import hdrs, web

from todo_service.auth.access import Access
from todo_service.routes import responses
from todo_service.routes.descriptions import describe
from todo_service.routes.table import Route
from todo_service.wire import etags
from todo_service.wire.negotiation import takes_gzip
from todo_service.wire.system import OpenApi

PUBLIC = {"Cache-Control": "public, no-cache"}  # the same for every caller, until the next release


@dataclass(frozen=True)
class OpenApiDocument:
    """A document as bytes, plain and compressed, each with the tag of its bytes."""

    body: bytes

    @cached_property
    def gzipped(self) -> bytes:
        return gzip.compress(self.body, mtime=0)

    @cached_property
    def tag(self) -> str:
        return etags.of_content(blake2b(self.body, digest_size=16).hexdigest())

    @cached_property
    def gzipped_tag(self) -> str:
        return etags.of_content(blake2b(self.gzipped, digest_size=16).hexdigest())


OPENAPI_DOCUMENT = web.AppKey("openapi_document", OpenApiDocument)
OPENAPI_V1_DOCUMENT = web.AppKey("openapi_v1_document", OpenApiDocument)


def is_v1(route: Route) -> bool:
    """Return whether a row is of v1, or of no version: those that a new client needs."""
    return route.path.startswith("/api/v1/") or not route.path.startswith("/api/")


@describe({200: OpenApi}, request_headers=(hdrs.IF_NONE_MATCH,), response_headers=(hdrs.ETAG,))
async def read_openapi(request: web.Request) -> web.Response:
    """Describe the API, in OpenAPI 3.1."""
    return _answer(request, request.app[OPENAPI_DOCUMENT])


@describe({200: OpenApi}, request_headers=(hdrs.IF_NONE_MATCH,), response_headers=(hdrs.ETAG,))
async def read_openapi_v1(request: web.Request) -> web.Response:
    """Describe v1 of the API alone, in OpenAPI 3.1: what a new client needs."""
    return _answer(request, request.app[OPENAPI_V1_DOCUMENT])


def _answer(request: web.Request, document: OpenApiDocument) -> web.Response:
    gzipped = takes_gzip(request.headers.getall(hdrs.ACCEPT_ENCODING, []))
    tag = document.gzipped_tag if gzipped else document.tag
    headers = PUBLIC | {"ETag": tag, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if etags.matches(request.headers.getall(hdrs.IF_NONE_MATCH, []), tag):
        return web.Response(status=304, headers=headers)
    if gzipped:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    return responses.json_bytes(document.gzipped if gzipped else document.body, headers=headers)


OPENAPI = (
    Route("GET", "/openapi.json", read_openapi, Access.PUBLIC, "This description"),
    Route(
        "GET",
        "/api/v1/openapi.json",
        read_openapi_v1,
        Access.PUBLIC,
        "The description of v1 alone",
    ),
)
