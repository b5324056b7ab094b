"""The routes of the application, as its router has them: a route that escaped the table is among them."""

from collections.abc import Iterator
from uuid import uuid4

from aiohttp import web

from todo_service.app import build_app
from todo_service.config.settings import Settings
from todo_service.routes.table import Route

SETTINGS = {
    "database_url": "postgresql://nobody@127.0.0.1:1/unused",
    "secret_key": "for-tests-only-0123456789-abcdefghijk",
    "database_pool_min": 0,
}


def router_routes() -> list[web.AbstractRoute]:
    """Every route that the service can match."""
    return list(build_app(Settings.model_validate(SETTINGS)).router.routes())


def row_of(route: web.AbstractRoute) -> Route | None:
    """The row of a route."""
    row = getattr(route.handler, "row", None)
    return row if isinstance(row, Route) else None


def rows() -> list[Route]:
    """The rows of all routes, each once."""
    found = {id(row): row for route in router_routes() if (row := row_of(route))}
    return list(found.values())


def private_rows() -> Iterator[Route]:
    """The rows that need a credential."""
    return (row for row in rows() if row.access.value != "public")


def path_of(template: str, user_id: str, **values: object) -> str:
    """A path of a row: a user's, or with ids of nothing where it needs others, unless they are given."""
    ids = {name: uuid4() for name in ("task_id", "token_id", "session_id")}
    others = {"user_id": user_id, "account_id": user_id, "name": "not-found", "digest": "0"}
    return template.format(**{**ids, **others, **values})
