"""Which hosts the service answers for: outside development those of `ALLOWED_HOSTS`, or all where that is not set."""

from aiohttp import hdrs, web

from todo_service.config import allowlists
from todo_service.config.settings import SETTINGS
from todo_service.errors import MisdirectedRequest
from todo_service.routes.table import row


def refuse_other_hosts(request: web.Request) -> None:
    """Raise `MisdirectedRequest` if the request names another host, in its target or in its header, or none."""
    hosts = request.app[SETTINGS].hosts
    if not hosts or ((route := row(request)) and route.vital):  # probes ask by address, not by name
        return
    named = {request.host, *request.headers.getall(hdrs.HOST, [])}  # the first is the target's, where that has one
    if not all(allowlists.is_host_of(hosts, host) for host in named):
        raise MisdirectedRequest
