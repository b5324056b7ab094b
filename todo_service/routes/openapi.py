"""The description of the API, for tools: these pages are made of it. It is made once, at the start."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from aiohttp import hdrs, web

from todo_service.auth.access import Access
from todo_service.routes import responses
from todo_service.routes.table import Route
from todo_service.wire import etags
from todo_service.wire.system import OpenApi

# It is the same for everybody, and another one with the next release.
PUBLIC = {"Cache-Control": "public, no-cache"}


@dataclass(frozen=True)
class Description:
    """The document as bytes."""

    body: bytes

    @cached_property
    def tag(self) -> str:
        return etags.of_content(blake2b(self.body, digest_size=16).hexdigest())


DESCRIPTION = web.AppKey("description", Description)


async def read_openapi(request: web.Request) -> web.Response:
    """Describe the API, in OpenAPI 3.1."""
    description = request.app[DESCRIPTION]
    headers = PUBLIC | {"ETag": description.tag}
    if etags.matches(request.headers.getall(hdrs.IF_NONE_MATCH, []), description.tag):
        return web.Response(status=304, headers=headers)
    return responses.written(description.body, headers=headers)


OPENAPI = tuple(
    Route(
        "GET",
        path,
        read_openapi,
        Access.PUBLIC,
        summary,
        answers={200: OpenApi},
        takes=(hdrs.IF_NONE_MATCH,),
        gives=(hdrs.ETAG,),
        name=name,
    )
    for path, name, summary in (
        ("/openapi.json", "read_openapi", "This description"),
        ("/api/v1/openapi.json", "v1_read_openapi", "This description, under `/api/v1`"),
    )
)
