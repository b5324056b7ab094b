"""Lists of tasks: a user's own, or everybody's for administrators.

A list is read from PostgreSQL with its stamp, and only if the stamp is another than that of the answer kept here or by
the caller; if it is not, the tasks are not read at all.
"""

import hashlib
from http import HTTPStatus

from aiohttp import hdrs, web

from todo_service.auth.caller import OWNER
from todo_service.errors import invalid
from todo_service.observability.metrics import METRICS
from todo_service.postgres.pool import DATABASE
from todo_service.queries import task_lists
from todo_service.queries.task_lists import NO_TASKS, Asked, Page
from todo_service.routes import responses
from todo_service.routes.list_cache import CACHE, ListAnswer
from todo_service.wire import codec, cursors, etags
from todo_service.wire.families import FAMILY
from todo_service.wire.task_lists import ListQuery, tag_digest

TOTAL = "X-Total-Count"


async def list_tasks(request: web.Request, query: ListQuery) -> web.Response:
    """List the tasks that pass all filters, newest first unless `sort` says otherwise. The header `Link` leads to the
    next page.
    """
    return await _owners_list(request, query, request[OWNER])


async def list_any_tasks(request: web.Request, query: ListQuery) -> web.Response:
    """Answer a page of everybody's tasks, or of one user's. Nobody's counter tells of everybody's changes, so the tag
    of the former is a digest of the answer.
    """
    if query.user_id is not None:
        return await _owners_list(request, query, query.user_id)
    asked = _asked(request, query, whose=None)
    async with request.app[DATABASE].connection() as db:
        page = await task_lists.select_page_any_owner(db, asked=asked)
    answer = await _written(request, query, page, asked, whose=None)
    tag = etags.of_content(hashlib.blake2b(answer.body, digest_size=16).hexdigest())
    return _reply(request, answer, asked, tag)


async def _owners_list(request: web.Request, query: ListQuery, owner_id: str) -> web.Response:
    family, cache = request[FAMILY], request.app[CACHE]
    asked = _asked(request, query, whose=owner_id)
    key, digest = (family.name, owner_id, asked), tag_digest(family.name, owner_id, asked)
    answer = cache.get(key)
    known = [answer.stamp] if answer else etags.stamps(_shown(request), digest)
    async with request.app[DATABASE].connection() as db:
        page = await task_lists.select_page(db, owner_id=owner_id, asked=asked, known=known[0] if known else None)
    if page is not None:
        answer = await _written(request, query, page, asked, whose=owner_id)
        cache.put(key, answer)
    if answer is None:
        response = responses.not_modified(etags.of_list(known[0], digest))
    else:
        response = _reply(request, answer, asked, etags.of_list(answer.stamp, digest))
    outcome = "not_modified" if response.status == HTTPStatus.NOT_MODIFIED else "hit" if page is None else "miss"
    request.app[METRICS].list_answered(outcome)
    return response


def _asked(request: web.Request, query: ListQuery, *, whose: str | None) -> Asked:
    family = request[FAMILY]
    try:
        after = query.position(whose)
    except ValueError:
        message = "is not the `next_cursor` of a list with this sort and these filters: start again without it"
        raise invalid("cursor", message, "cursor", status=family.invalid_status) from None
    return query.asked(limit=query.limit or family.page_size, after=after)


async def _written(
    request: web.Request, query: ListQuery, page: Page, asked: Asked, *, whose: str | None
) -> ListAnswer:
    next_cursor = None
    if page.has_more:
        last = task_lists.position(asked.sort, page.tasks[-1])
        next_cursor = cursors.write(last, digest=query.question(whose))
    body = codec.dump(await request[FAMILY].task_list(page, asked, next_cursor))
    return ListAnswer(page.stamp or NO_TASKS, body, page.total, next_cursor)


def _reply(request: web.Request, answer: ListAnswer, asked: Asked, tag: str) -> web.Response:
    if etags.matches(_shown(request), tag):
        return responses.not_modified(tag)
    headers = responses.PRIVATE | {TOTAL: str(answer.total), hdrs.ETAG: tag}
    if answer.next_cursor is not None:
        following = {"cursor": answer.next_cursor, "limit": str(asked.limit)}
        url = request.rel_url.without_query_params("skip").update_query(following)
        headers[hdrs.LINK] = f'<{url.raw_path_qs}>; rel="next"'
    return responses.written(answer.body, headers=headers)


def _shown(request: web.Request) -> list[str]:
    return request.headers.getall(hdrs.IF_NONE_MATCH, [])
