"""The meaning of the errors, for people and for programs: the addresses in their `type`."""

from aiohttp import hdrs, web

from todo_service.auth.access import Access
from todo_service.errors import NotFound, kinds
from todo_service.routes import responses
from todo_service.routes.descriptions import describe
from todo_service.routes.public_paths import site
from todo_service.routes.request_bodies import JSON
from todo_service.routes.table import Route
from todo_service.wire import pages, problems
from todo_service.wire.negotiation import prefers_html
from todo_service.wire.system import Explanation, Explanations

KINDS = {kind.name: kind for kind in sorted(kinds(), key=lambda kind: (kind.status, kind.name))}
HTML = "text/html"
BY_ACCEPT = {"Vary": "Accept"}


@describe({200: {JSON: Explanations, HTML: str}})
async def list_problems(request: web.Request) -> web.Response:
    """List the problem types."""
    if _wants_html(request):
        text = pages.problems(site(request), KINDS.values())
        return responses.html(text, policy=pages.READING, headers=BY_ACCEPT)
    return responses.json({"problems": [problems.explanation(kind) for kind in KINDS.values()]}, headers=BY_ACCEPT)


@describe({200: {JSON: Explanation, HTML: str}})
async def read_problem(request: web.Request) -> web.Response:
    """Read the meaning of a problem type, its occasion and its remedy."""
    kind = KINDS.get(request.match_info["name"])
    if kind is None:
        raise NotFound(f"There is no such problem type. Known are: {', '.join(sorted(KINDS))}.")
    if _wants_html(request):
        text = pages.problem(site(request), kind)
        return responses.html(text, policy=pages.READING, headers=BY_ACCEPT)
    return responses.json(problems.explanation(kind), headers=BY_ACCEPT)


def _wants_html(request: web.Request) -> bool:
    return prefers_html(request.headers.getall(hdrs.ACCEPT, []))


PROBLEMS = (
    Route("GET", "/problems", list_problems, Access.PUBLIC, "What the errors mean"),
    Route("GET", "/problems/{name}", read_problem, Access.PUBLIC, "What an error means"),
)
