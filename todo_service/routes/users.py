"""Accounts as administrators see and change them."""

from aiohttp import hdrs, web

from todo_service.auth import administration
from todo_service.auth.access import Access
from todo_service.auth.administration import NO_SUCH_USER
from todo_service.auth.caller import CALLER, REQUEST_ID
from todo_service.errors import AdminNeedsPassword, LastAdmin, NotFound
from todo_service.postgres.database import DATABASE
from todo_service.queries import users
from todo_service.routes import responses
from todo_service.routes.descriptions import describe
from todo_service.routes.public_paths import public_path
from todo_service.routes.table import Route
from todo_service.routes.task_lists import TOTAL
from todo_service.wire.users import Accounts, Profile, UserQuery, UserUpdate, profile


@describe({200: Accounts}, response_headers=(hdrs.LINK, TOTAL))
async def list_users(request: web.Request, query: UserQuery) -> web.Response:
    """Answer a page of accounts."""
    async with request.app[DATABASE].connection() as db:
        rows, total = await users.select_page(db, query.filter(), skip=query.skip, limit=query.limit)
    headers = responses.PRIVATE | {TOTAL: str(total)}
    if query.skip + query.limit < total:
        next_page = request.rel_url.update_query(skip=query.skip + query.limit, limit=query.limit)
        headers[hdrs.LINK] = f'<{public_path(request, next_page.raw_path_qs)}>; rel="next"'
    document = {"users": [profile(row) for row in rows], "total": total, "skip": query.skip, "limit": query.limit}
    return responses.json(document, headers=headers)


@describe({200: Profile})
async def read_user(request: web.Request) -> web.Response:
    """Answer one account."""
    async with request.app[DATABASE].connection() as db:
        user = await users.select(db, user_id=_account_id(request))
    if user is None:
        raise NotFound(NO_SUCH_USER)
    return responses.json(profile(user), headers=responses.PRIVATE)


@describe({200: Profile}, errors=(LastAdmin, AdminNeedsPassword))
async def update_user(request: web.Request, body: UserUpdate) -> web.Response:
    """Change role, activity or name of an account."""
    user = await administration.update(
        request.app[DATABASE],
        _account_id(request),
        body.changes(),
        actor_id=request[CALLER].user_id,
        request_id=request[REQUEST_ID],
    )
    return responses.json(profile(user), headers=responses.PRIVATE)


@describe({204: None}, errors=(LastAdmin,))
async def delete_user(request: web.Request) -> web.Response:
    """Delete an account with all its data."""
    await administration.delete(
        request.app[DATABASE],
        _account_id(request),
        actor_id=request[CALLER].user_id,
        request_id=request[REQUEST_ID],
    )
    return responses.no_content()


def _account_id(request: web.Request) -> str:
    """The id in the path; an id that the database cannot store has no user."""
    account_id = request.match_info["account_id"]
    if "\0" in account_id or not account_id.isprintable():
        raise NotFound(NO_SUCH_USER)
    return account_id


ONE = "/api/v1/users/{account_id}"
USERS = (
    Route("GET", "/api/v1/users", list_users, Access.ADMIN, "List accounts", query=UserQuery),
    Route("GET", ONE, read_user, Access.ADMIN, "Read an account"),
    Route("PATCH", ONE, update_user, Access.ADMIN, "Change an account", body=UserUpdate),
    Route("DELETE", ONE, delete_user, Access.ADMIN, "Delete an account"),
)
