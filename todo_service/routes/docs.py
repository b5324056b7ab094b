"""Documentation for people: Swagger UI to try the API, ReDoc to read it, and their files."""

from aiohttp import hdrs, web

from todo_service import static_files
from todo_service.auth.access import Access
from todo_service.config.settings import SETTINGS
from todo_service.errors import NotFound
from todo_service.routes import responses
from todo_service.routes.public_paths import public_path, site
from todo_service.routes.table import Route, template
from todo_service.static_files import STATIC_FILES, StaticFile
from todo_service.wire import etags, pages
from todo_service.wire.negotiation import takes_gzip

FOR_EVER = "public, max-age=31536000, immutable"
FOR_A_DAY = "public, max-age=86400"


async def read_swagger_ui(request: web.Request) -> web.Response:
    """Swagger UI: every operation, with a form to try it."""
    style, *scripts = (static_files.read(name).path for name in static_files.SWAGGER_UI)
    body = f'<div id="swagger-ui" data-document="{_document(request)}"></div>'
    html = site(request).page(_title(request), body, styles=[style], scripts=scripts)
    return responses.html(html, policy=pages.SWAGGER_UI)


async def read_redoc(request: web.Request) -> web.Response:
    """ReDoc: every operation, to read."""
    scripts = [static_files.read(name).path for name in static_files.REDOC]
    body = f'<div id="redoc" data-document="{_document(request)}"></div>'
    return responses.html(site(request).page(_title(request), body, scripts=scripts), policy=pages.REDOC)


async def read_asset(request: web.Request) -> web.Response:
    """A file of these pages, compressed if the client accepts gzip."""
    asset = request.app[STATIC_FILES].get("/assets/{digest}/{name}".format_map(request.match_info))
    if asset is None:
        raise NotFound
    return _file(request, asset, cache=FOR_EVER)


async def read_icon(request: web.Request) -> web.Response:
    """The icon, at the address where browsers look for one without a page that names it."""
    return _file(request, static_files.read(static_files.ICON), cache=FOR_A_DAY)


def _file(request: web.Request, asset: StaticFile, *, cache: str) -> web.Response:
    gzipped = takes_gzip(request.headers.getall(hdrs.ACCEPT_ENCODING, []))
    tag = etags.of_content(f"{asset.digest}.gz" if gzipped else asset.digest)  # other bytes, another tag
    headers = {hdrs.ETAG: tag, hdrs.CACHE_CONTROL: cache, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if etags.matches(request.headers.getall(hdrs.IF_NONE_MATCH, []), tag):
        return web.Response(status=304, headers=headers)
    if gzipped:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    body = asset.gzipped if gzipped else asset.body
    return web.Response(body=body, headers=headers, content_type=asset.content_type, charset="utf-8")


def _document(request: web.Request) -> str:
    """The path of the OpenAPI document, beside that of the page, as an attribute of the page."""
    return public_path(request, template(request).rpartition("/")[0] + "/openapi.json")


def _title(request: web.Request) -> str:
    return f"{request.app[SETTINGS].app_name} API"


FILES = (
    Route("GET", "/assets/{digest}/{name}", read_asset, Access.PUBLIC, "A file of the pages of this service"),
    Route("GET", "/favicon.ico", read_icon, Access.PUBLIC, "The icon of this service"),
)
DOCS = (
    Route("GET", "/docs", read_swagger_ui, Access.PUBLIC, "Swagger UI"),
    Route("GET", "/api/v1/docs", read_swagger_ui, Access.PUBLIC, "Swagger UI"),
    Route("GET", "/redoc", read_redoc, Access.PUBLIC, "ReDoc"),
    Route("GET", "/api/v1/redoc", read_redoc, Access.PUBLIC, "ReDoc"),
)
