"""The four URL families: the same tasks in the dialects of four existing clients.

Data; no handler asks for its family.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from pydantic import ConfigDict, Field

from todo_service.queries.task_lists import ListSpec, Page
from todo_service.queries.task_rows import TaskRow
from todo_service.wire import codec, task_examples, tasks
from todo_service.wire.codec import Naming, Output
from todo_service.wire.tasks import Task


@dataclass(frozen=True, slots=True)
class Family:
    """One family.

    Attributes:
        envelope: Wraps the tasks of a list: documents, total, specification, next cursor.
        list_document: The model of an enveloped list.
        invalid_status: The status of an invalid body.
        page_size: Tasks in a list without `limit`; None for all.
        for_admins: Whether administrators reach every user's tasks here.
    """

    name: str
    prefix: str
    naming: Naming
    envelope: Callable[[orjson.Fragment, int, ListSpec, str | None], object]
    list_document: Any
    invalid_status: int
    page_size: int | None
    for_admins: bool = False

    @property
    def schema_prefix(self) -> str:
        """The prefix of the names of its own schemas."""
        return "" if self.naming == "snake" else self.name.title()

    def describe(self, answer: Any) -> Any:
        """Return the model of an answer in this family."""
        return self.list_document if answer == list[Task] else answer

    async def task_list(self, page: Page, spec: ListSpec, next_cursor: str | None) -> object:
        """Return the JSON value of a list."""
        document = self.envelope(await tasks.array(page.tasks, self.naming), page.total, spec, next_cursor)
        if page.is_estimate and isinstance(document, dict):
            document["total_is_estimate"] = True
        return document

    async def chunks(self, pages: AsyncIterator[list[TaskRow]], total: int, spec: ListSpec) -> AsyncIterator[bytes]:
        """Yield the JSON of a list page by page, none of them empty."""
        head, _, tail = codec.dump(self.envelope(orjson.Fragment(b"[]"), total, spec, None)).partition(b"[]")
        before = head + b"["
        async for page in pages:
            yield before + codec.dump(await tasks.array(page, self.naming))[1:-1]
            before = b","
        yield b"]" + tail


class TaskPage(Output):
    """A page of a list of tasks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"tasks": [task_examples.EXAMPLE], "total": 1, "skip": 0, "limit": 100, "next_cursor": None}]
        }
    )

    tasks: list[Task]
    total: int = Field(ge=0, description="How many tasks match, on all pages.")
    total_is_estimate: bool = Field(
        False, description="Of all users' tasks, for administrators: more than 10,000, and `total` is estimated."
    )
    skip: int = Field(ge=0)
    limit: int = Field(ge=1)
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null if there is none.")


class CountedTasks(Output):
    """A list of tasks with their number."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tasks": [task_examples.EXAMPLE], "count": 1}]})

    tasks: list[Task]
    count: int = Field(ge=0, description="How many tasks match, on all pages.")


def _paged(documents: orjson.Fragment, total: int, spec: ListSpec, next_cursor: str | None) -> object:
    return {
        "tasks": documents,
        "total": total,
        "skip": spec.skip,
        "limit": spec.limit,
        "next_cursor": next_cursor,
    }


def _counted(documents: orjson.Fragment, total: int, spec: ListSpec, next_cursor: str | None) -> object:
    return {"tasks": documents, "count": total}


def _bare(documents: orjson.Fragment, total: int, spec: ListSpec, next_cursor: str | None) -> object:
    return documents


FAMILIES = (
    Family("v1", "/api/v1", "snake", _paged, TaskPage, invalid_status=422, page_size=100, for_admins=True),
    Family("app", "/api", "camel", _bare, list[Task], invalid_status=422, page_size=None),
    Family("owner", "/api/{user_id}", "snake", _bare, list[Task], invalid_status=400, page_size=None),
    Family("users", "/api/users/{user_id}", "snake", _counted, CountedTasks, invalid_status=400, page_size=None),
)
FAMILY = web.RequestKey("family", Family)
