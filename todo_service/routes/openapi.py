"""The description of the API, for tools: these pages are made of it. It is made once, at the start, and once more for
each path prefix that clients come by.
"""

import gzip
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b

from aiohttp import hdrs, web

from todo_service.auth.access import Access
from todo_service.routes import responses
from todo_service.routes.descriptions import describe
from todo_service.routes.oauth2 import TOKEN_PATH
from todo_service.routes.public_paths import prefix
from todo_service.routes.table import Route
from todo_service.wire import codec, etags
from todo_service.wire.negotiation import takes_gzip
from todo_service.wire.system import OpenApi

MAX_PREFIXES = 8  # path prefixes whose documents are kept; a document has 200 KB
SERVER = b'"servers":[{"url":"/"'
TOKEN_URL = f'"tokenUrl":"{TOKEN_PATH}"'.encode()
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


@lru_cache(maxsize=2 * MAX_PREFIXES)
def below_prefix(document: OpenApiDocument, prefix: str) -> OpenApiDocument:
    """Return the document for clients that reach the service at this path prefix."""
    body = document.body
    for place, path in ((SERVER, ""), (TOKEN_URL, TOKEN_PATH)):
        head, found, rest = body.partition(place)
        assert found
        body = head + place.rpartition(b":")[0] + b":" + codec.dump(prefix + path) + rest
    return OpenApiDocument(body)


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
    if path_prefix := prefix(request):
        document = below_prefix(document, path_prefix)
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
