"""Headers of every answer: the request id, security headers, and `Vary`."""

from functools import lru_cache

from aiohttp import hdrs, web
from multidict import CIMultiDict

from todo_service.auth.caller import REQUEST_ID
from todo_service.auth.rate_limiting import USAGE
from todo_service.limits.load import Load
from todo_service.middleware.request_id import HEADER
from todo_service.routes.strict_handling import STRICT

DEFAULTS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",  # for images and scripts of other pages; CORS takes precedence
    "Cache-Control": "no-store",
}
HTTPS_ONLY = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}
CREDENTIALS = ("Authorization", "X-Service-Auth", "X-User-ID")


class ResponseHeaders:
    """The headers of one application.

    Args:
        load: Answers close their connections while it is draining.
        https_only: Send `Strict-Transport-Security`.
        varies_by_origin: Answers differ by `Origin`, because CORS is configured.
    """

    def __init__(self, load: Load, *, https_only: bool, varies_by_origin: bool) -> None:
        self._load = load
        self._defaults = CIMultiDict(DEFAULTS | (HTTPS_ONLY if https_only else {}))
        self._vary: tuple[str, ...] = (hdrs.ORIGIN,) if varies_by_origin else ()
        self._vary_private = (*CREDENTIALS, *self._vary)

    def complete(self, headers: CIMultiDict[str], request_id: str) -> None:
        """Add the headers that every answer has; a default does not replace a header that is set already."""
        headers[HEADER] = request_id
        headers[hdrs.SERVER] = "todo-service"  # aiohttp's names versions
        headers.merge(self._defaults)
        vary = self._vary_private if headers["Cache-Control"].startswith("private") else self._vary
        if vary and hdrs.VARY not in headers:
            headers[hdrs.VARY] = ", ".join(vary)
        elif vary:
            headers[hdrs.VARY] = _with_names(headers[hdrs.VARY], vary)

    async def set(self, request: web.Request, response: web.StreamResponse) -> None:
        """Complete the headers of an answer that is about to be sent, with the usage of its rate limit."""
        if self._load.draining:
            response.force_close()
            response.headers["Connection"] = "close"
        if (usage := request[USAGE]) is not None:
            response.headers.update(usage.headers)
        if STRICT in request:
            response.headers["Preference-Applied"] = "handling=strict"
        self.complete(response.headers, request[REQUEST_ID])


@lru_cache
def _with_names(header: str, names: tuple[str, ...]) -> str:
    """Return a list of names with others that are not in it yet."""
    present = {name.strip().lower() for name in header.split(",")}
    return ", ".join([header, *(name for name in names if name.lower() not in present)])


RESPONSE_HEADERS = web.AppKey("response_headers", ResponseHeaders)
