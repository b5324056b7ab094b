"""The four URL families: the same tasks, each as some client already speaks of them. Data; no handler asks which."""

from collections.abc import Callable
from dataclasses import dataclass

import orjson
from aiohttp import web

from todo_service.queries.task_lists import Asked, Page
from todo_service.wire import tasks
from todo_service.wire.codec import Naming


@dataclass(frozen=True, slots=True)
class Family:
    """How one family differs: its path, its JSON names, what surrounds a list, the status of an invalid body, how many
    tasks a list has unless `limit` says (None: all), and whether administrators reach everybody's tasks here.
    """

    name: str
    prefix: str
    naming: Naming
    envelope: Callable[[orjson.Fragment, int, Asked, str | None], object]
    invalid_status: int
    page_size: int | None
    for_admins: bool = False

    async def task_list(self, page: Page, asked: Asked, next_cursor: str | None) -> object:
        """The JSON value that answers a list."""
        return self.envelope(await tasks.array(page.tasks, self.naming), page.total, asked, next_cursor)


def _paged(documents: orjson.Fragment, total: int, asked: Asked, next_cursor: str | None) -> object:
    return {
        "tasks": documents,
        "total": total,
        "skip": asked.skip,
        "limit": asked.limit,
        "next_cursor": next_cursor,
    }


def _counted(documents: orjson.Fragment, total: int, asked: Asked, next_cursor: str | None) -> object:
    return {"tasks": documents, "count": total}


def _bare(documents: orjson.Fragment, total: int, asked: Asked, next_cursor: str | None) -> object:
    return documents


FAMILIES = (
    Family("v1", "/api/v1", "snake", _paged, invalid_status=422, page_size=100, for_admins=True),
    Family("app", "/api", "camel", _bare, invalid_status=422, page_size=None),
    Family("owner", "/api/{user_id}", "snake", _bare, invalid_status=400, page_size=None),
    Family("users", "/api/users/{user_id}", "snake", _counted, invalid_status=400, page_size=None),
)
FAMILY = web.RequestKey("family", Family)
