"""Lists of tasks: a user's own, or every user's for administrators.

A cached answer is sent if its stamp is still the present one. Otherwise the list is read from PostgreSQL together with
its stamp, unless that is the stamp of the caller's copy.
"""

import hashlib
from http import HTTPStatus

from aiohttp import hdrs, web

from todo_service.auth.caller import OWNER
from todo_service.errors import invalid
from todo_service.observability.metrics import METRICS
from todo_service.postgres.database import DATABASE
from todo_service.queries import task_lists
from todo_service.queries.task_lists import NO_TASKS, ListSpec, Page
from todo_service.routes import responses
from todo_service.routes.list_cache import LIST_CACHE, CachedList
from todo_service.routes.list_stamps import LIST_STAMPS
from todo_service.routes.table import describe
from todo_service.wire import codec, cursors, etags
from todo_service.wire.families import FAMILY
from todo_service.wire.task_lists import ListQuery, tag_digest
from todo_service.wire.tasks import Task

TOTAL = "X-Total-Count"


@describe(
    {200: list[Task]},
    request_headers=(hdrs.IF_NONE_MATCH,),
    response_headers=(hdrs.ETAG, hdrs.LINK, TOTAL),
)
async def list_tasks(request: web.Request, query: ListQuery) -> web.Response:
    """List the tasks that pass all filters, newest first unless `sort` says otherwise. The header `Link` leads to the
    next page.
    """
    return await _list_of_owner(request, query, request[OWNER])


async def list_any_tasks(request: web.Request, query: ListQuery) -> web.Response:
    """Answer an administrator with a page of every user's tasks, or of one user's.

    No change counter covers every user, so the tag of the former is a digest of the answer.
    """
    if query.user_id is not None:
        return await _list_of_owner(request, query, query.user_id)
    spec = _spec(request, query, owner_id=None)
    async with request.app[DATABASE].connection() as db:
        page = await task_lists.select_page_any_owner(db, spec=spec)
    answer = await _write(request, query, page, spec, owner_id=None)
    tag = etags.of_content(hashlib.blake2b(answer.body, digest_size=16).hexdigest())
    return _respond(request, answer, spec, tag)


async def _list_of_owner(request: web.Request, query: ListQuery, owner_id: str) -> web.Response:
    family, cache = request[FAMILY], request.app[LIST_CACHE]
    spec = _spec(request, query, owner_id=owner_id)
    key, digest = (family.name, owner_id, spec), tag_digest(family.name, owner_id, spec)
    answer = cache.get(key)
    stamps = [answer.stamp] if answer else etags.stamps(_if_none_match(request), digest)
    page = None
    if answer is None or await request.app[LIST_STAMPS].read(owner_id) != answer.stamp:
        async with request.app[DATABASE].connection() as db:
            page = await task_lists.select_page(db, owner_id=owner_id, spec=spec, unless=stamps[0] if stamps else None)
    if page is not None:
        answer = await _write(request, query, page, spec, owner_id=owner_id)
        cache.put(key, answer)
    if answer is None:
        response = responses.not_modified(etags.of_list(stamps[0], digest))
    else:
        response = _respond(request, answer, spec, etags.of_list(answer.stamp, digest))
    outcome = "not_modified" if response.status == HTTPStatus.NOT_MODIFIED else "hit" if page is None else "miss"
    request.app[METRICS].list_answered(outcome)
    return response


def _spec(request: web.Request, query: ListQuery, *, owner_id: str | None) -> ListSpec:
    family = request[FAMILY]
    try:
        after = query.position(owner_id)
    except ValueError:
        message = "is not the `next_cursor` of a list with this sort and these filters: start again without it"
        raise invalid("cursor", message, "cursor", status=family.invalid_status) from None
    return query.spec(limit=query.limit or family.page_size, after=after)


async def _write(
    request: web.Request, query: ListQuery, page: Page, spec: ListSpec, *, owner_id: str | None
) -> CachedList:
    next_cursor = None
    if page.has_more:
        last = task_lists.position(spec.sort, page.tasks[-1])
        next_cursor = cursors.write(last, digest=query.digest(owner_id))
    body = codec.dump(await request[FAMILY].task_list(page, spec, next_cursor))
    return CachedList(page.stamp or NO_TASKS, body, page.total, next_cursor)


def _respond(request: web.Request, answer: CachedList, spec: ListSpec, tag: str) -> web.Response:
    if etags.matches(_if_none_match(request), tag):
        return responses.not_modified(tag)
    headers = responses.PRIVATE | {TOTAL: str(answer.total), hdrs.ETAG: tag}
    if answer.next_cursor is not None:
        next_page = {"cursor": answer.next_cursor, "limit": str(spec.limit)}
        url = request.rel_url.without_query_params("skip").update_query(next_page)
        headers[hdrs.LINK] = f'<{url.raw_path_qs}>; rel="next"'
    return responses.json_bytes(answer.body, headers=headers)


def _if_none_match(request: web.Request) -> list[str]:
    return request.headers.getall(hdrs.IF_NONE_MATCH, [])
