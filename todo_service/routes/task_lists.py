"""Lists of tasks: a user's own, or every user's for administrators.

The hot path is `_list_of_owner`: a cached answer is sent if its stamp is still the present one. Otherwise the list is
read from PostgreSQL together with its stamp, unless that is the stamp of the caller's copy.
"""

import hashlib
from http import HTTPStatus

from aiohttp import hdrs, web
from multidict import CIMultiDict

from todo_service.auth import audit
from todo_service.auth.caller import OWNER
from todo_service.errors import invalid
from todo_service.observability.metrics import METRICS
from todo_service.postgres.database import DATABASE
from todo_service.queries import all_tasks, task_lists
from todo_service.queries.task_filters import EVERYTHING
from todo_service.queries.task_lists import NO_TASKS, ListSpec, Page
from todo_service.queries.user_lists import COUNTED
from todo_service.routes import long_lists, responses
from todo_service.routes.compression import compressed, wants_gzip
from todo_service.routes.descriptions import describe
from todo_service.routes.list_cache import LIST_CACHE, TASK_STAMPS, CachedList, Key
from todo_service.routes.public_paths import prefix, public_path
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
async def list_tasks(request: web.Request, query: ListQuery) -> web.StreamResponse:
    """List the tasks that pass all filters, newest first unless `sort` says otherwise. The header `Link` leads to the
    next page.
    """
    return await _list_of_owner(request, query, request[OWNER])


async def list_any_tasks(request: web.Request, query: ListQuery) -> web.StreamResponse:
    """Answer an administrator with a page of all users' tasks, or of one user's.

    No change counter covers all users, so the tag of the former is a digest of the answer. It has no filters and no
    order but by creation, which would read every task.
    """
    subject = audit.EVERYONE if query.user_id is None else query.user_id
    if subject != request[OWNER]:
        await audit.record(request, audit.entry_of(request, "tasks_listed"), subject_id=subject)
    if query.user_id is not None:
        return await _list_of_owner(request, query, query.user_id)
    if query.filter() != EVERYTHING or query.sort not in all_tasks.SORTS:
        message = "must be sent with a filter, and with an order other than by `created_at`: name one user"
        raise invalid("user_id", message, "missing")
    if query.skip > COUNTED:
        message = f"must be at most {COUNTED} in a list of all users: go on with `cursor`"
        raise invalid("skip", message, "less_than_equal")
    spec = _spec(request, query, owner_id=None)
    async with request.app[DATABASE].connection() as db:
        page = await all_tasks.select_page(db, spec=spec)
    body, next_cursor = await _write(request, query, page, spec, owner_id=None)
    tag = etags.of_content(hashlib.blake2b(body, digest_size=16).hexdigest())
    headers = _headers(request, page.total, spec, next_cursor)
    body = await _encode(body, headers, tag, wanted=wants_gzip(request))
    return _respond(request, body, headers)


async def _list_of_owner(request: web.Request, query: ListQuery, owner_id: str) -> web.StreamResponse:
    app = request.app
    encoding = "gzip" if wants_gzip(request) else ""
    key = (request[FAMILY].name, owner_id, request.rel_url.raw_query_string, prefix(request), encoding)
    cached, until = app[LIST_CACHE].get(key), app[DATABASE].deadline()
    if cached is not None and (await app[TASK_STAMPS].read(owner_id) or NO_TASKS) == cached.stamp:
        response: web.StreamResponse = _respond(request, cached.body, cached.headers)
        outcome = "hit"
    else:
        response, outcome = await _read_list(request, query, owner_id, key, until), "miss"
    app[METRICS].list_answered("not_modified" if response.status == HTTPStatus.NOT_MODIFIED else outcome)
    return response


async def _read_list(
    request: web.Request, query: ListQuery, owner_id: str, key: Key, until: float
) -> web.StreamResponse:
    """Read the list, unless it is the caller's copy that PostgreSQL confirms."""
    spec = _spec(request, query, owner_id=owner_id)
    digest = tag_digest(request[FAMILY].name, owner_id, spec)
    stamps = etags.stamps(_if_none_match(request), digest)
    unless = stamps[0] if stamps else None

    async def run() -> tuple[Page | None, bool]:
        async with request.app[DATABASE].connection(until=until) as db:
            return await long_lists.select_page(db, owner_id=owner_id, spec=spec, unless=unless)

    page, is_first = await long_lists.search(request, spec, run)
    if page is None:
        return _not_modified(etags.as_sent(_if_none_match(request), etags.of_list(stamps[0], digest)))
    stamp = page.stamp or NO_TASKS
    if is_first:
        headers = _headers(request, page.total, spec, None)
        headers[hdrs.ETAG] = etags.of_list(stamp, digest)
        return long_lists.stream(request, page, spec, owner_id=owner_id, headers=headers)
    body, next_cursor = await _write(request, query, page, spec, owner_id=owner_id)
    headers = _headers(request, page.total, spec, next_cursor)
    body = await _encode(body, headers, etags.of_list(stamp, digest), wanted=bool(key[-1]))
    request.app[LIST_CACHE].put(key, CachedList(stamp, body, headers))
    return _respond(request, body, headers)


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
) -> tuple[bytes, str | None]:
    """Return the JSON of a page, and the cursor of the next page, None on the last one."""
    next_cursor = None
    if page.has_more:
        last = task_lists.position(spec.sort, page.tasks[-1])
        next_cursor = cursors.write(last, digest=query.digest(owner_id))
    return codec.dump(await request[FAMILY].task_list(page, spec, next_cursor)), next_cursor


def _headers(request: web.Request, total: int, spec: ListSpec, next_cursor: str | None) -> CIMultiDict[str]:
    headers = CIMultiDict(responses.PRIVATE | responses.JSON | {TOTAL: str(total)})
    if next_cursor is not None:
        next_page = {"cursor": next_cursor, "limit": str(spec.limit)}
        url = request.rel_url.without_query_params("skip").update_query(next_page)
        headers[hdrs.LINK] = f'<{public_path(request, url.raw_path_qs)}>; rel="next"'
    return headers


async def _encode(body: bytes, headers: CIMultiDict[str], tag: str, *, wanted: bool) -> bytes:
    """Return the body as it is sent; its headers get the tag of that form."""
    body = await compressed(body, headers, wanted=wanted)
    headers[hdrs.ETAG] = etags.of_encoding(tag) if hdrs.CONTENT_ENCODING in headers else tag
    return body


def _respond(request: web.Request, body: bytes, headers: CIMultiDict[str]) -> web.Response:
    if hdrs.IF_NONE_MATCH in request.headers and etags.matches(_if_none_match(request), headers[hdrs.ETAG]):
        return _not_modified(headers[hdrs.ETAG])
    return web.Response(body=body, headers=headers)


def _not_modified(tag: str) -> web.Response:
    response = responses.not_modified(tag)
    response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    return response


def _if_none_match(request: web.Request) -> list[str]:
    return request.headers.getall(hdrs.IF_NONE_MATCH, [])
