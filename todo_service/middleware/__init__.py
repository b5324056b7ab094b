"""Middlewares, which wrap every request; the list is their order, outermost first."""

from aiohttp.typedefs import Middleware

from todo_service.config.settings import Settings
from todo_service.middleware.access_log import log_access
from todo_service.middleware.auth import authenticate
from todo_service.middleware.errors import answer_errors
from todo_service.middleware.hosts import check_host
from todo_service.middleware.load_limit import limit_load
from todo_service.middleware.request_id import identify_request
from todo_service.middleware.streaming import stream_large_bodies


def middlewares(settings: Settings) -> list[Middleware]:
    """Return the middlewares of the service."""
    hosts = [check_host] if settings.hosts else []
    return [limit_load, log_access, answer_errors, *hosts, authenticate, stream_large_bodies]


def metrics_middlewares() -> list[Middleware]:
    """Return those of the metrics port: its scrapes are not logged, counted or limited."""
    return [identify_request, answer_errors, authenticate]
