"""Lists that take the database or the memory more than a moment: searches, and all tasks of a user who has very long
ones, which are sent page by page while they are read.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import asyncpg
from aiohttp import hdrs, web
from multidict import CIMultiDict

from todo_service.auth.caller import CALLER
from todo_service.limits.rate import RATE_LIMITER, Limit
from todo_service.limits.searches import SEARCHES
from todo_service.postgres.connection import Connection
from todo_service.postgres.database import DATABASE
from todo_service.queries import task_lists
from todo_service.queries.task_lists import ListSpec, Page, Stamp
from todo_service.queries.task_rows import TaskRow
from todo_service.routes.responses import StreamedResponse
from todo_service.wire.families import FAMILY

BATCH = 1000  # tasks of a page
MAX_WHOLE = 8 * 1024 * 1024  # characters of all tasks of a list that is sent in one piece
TIMED_OUT_COST = 20  # reads that a search is counted as if the database gave it up

T = TypeVar("T")


async def select_page(
    db: Connection, *, owner_id: str, spec: ListSpec, unless: Stamp | None
) -> tuple[Page | None, bool]:
    """Return a page of the owner's tasks as `task_lists.select_page` does, and whether it is only the first of those
    that make up the whole list.
    """
    if spec.limit is not None:
        return await task_lists.select_page(db, owner_id=owner_id, spec=spec, unless=unless), False
    first = await task_lists.select_page(db, owner_id=owner_id, spec=replace(spec, limit=BATCH), unless=unless)
    if first is None:
        return None, False
    page, tasks, size = first, list(first.tasks), _characters(first.tasks)
    while page.has_more:
        if size > MAX_WHOLE:
            return first, True
        following = await task_lists.select_page(db, owner_id=owner_id, spec=_after(spec, page))
        if following is None or following.stamp != first.stamp:  # it has changed meanwhile
            return first, True
        page = following
        tasks += page.tasks
        size += _characters(page.tasks)
    return replace(first, tasks=tasks, has_more=False), False


async def search(request: web.Request, spec: ListSpec, run: Callable[[], Awaitable[T]]) -> T:
    """Return the result of `run()`, in the caller's turn if it searches texts.

    A search that the database gave up counts as many reads.

    Raises:
        Overloaded: The turn does not come in time.
    """
    if spec.filter.text is None:
        return await run()
    user_id = request[CALLER].user_id
    async with request.app[SEARCHES].turn(user_id):
        try:
            return await run()
        except asyncpg.QueryCanceledError:
            for _ in range(TIMED_OUT_COST):
                await request.app[RATE_LIMITER].spend(Limit.READ, f"user {user_id}")
            raise


def stream(
    request: web.Request, first: Page, spec: ListSpec, *, owner_id: str, headers: CIMultiDict[str]
) -> web.StreamResponse:
    """Return the answer with all tasks of a list, of which `first` is the first page.

    Each page is as it is when it is read. The tag is that of the first, so a list that has changed meanwhile has
    another tag.
    """
    chunks = request[FAMILY].chunks(_pages(request, first, spec, owner_id), first.total, spec)
    kept = {name: value for name, value in headers.items() if name != hdrs.CONTENT_TYPE}
    return StreamedResponse(chunks, headers=kept, content_type="application/json")


async def _pages(request: web.Request, first: Page, spec: ListSpec, owner_id: str) -> AsyncIterator[list[TaskRow]]:
    page = first
    yield page.tasks
    while page.has_more:
        found = await search(request, spec, partial(_next_page, request, _after(spec, page), owner_id))
        if found is None or not found.tasks:
            return
        page = found
        yield page.tasks


async def _next_page(request: web.Request, spec: ListSpec, owner_id: str) -> Page | None:
    async with request.app[DATABASE].connection() as db:  # returned before a byte of the page is written
        return await task_lists.select_page(db, owner_id=owner_id, spec=spec)


def _after(spec: ListSpec, page: Page) -> ListSpec:
    return replace(spec, limit=BATCH, skip=0, after=task_lists.position(spec.sort, page.tasks[-1]))


def _characters(tasks: list[TaskRow]) -> int:
    return sum(len(task.title) + len(task.description or "") for task in tasks)
