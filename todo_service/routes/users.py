"""Accounts as administrators see and change them."""

from aiohttp import hdrs, web

from todo_service.auth import administration, audit
from todo_service.auth.access import Access
from todo_service.auth.administration import NO_SUCH_USER
from todo_service.auth.recovery import RECOVERY
from todo_service.errors import (
    AccountInactive,
    AdminNeedsPassword,
    LastAdmin,
    MailNotConfigured,
    NoPasswordAccount,
    NotFound,
    invalid,
)
from todo_service.postgres.database import DATABASE
from todo_service.queries import audit_log, user_lists, users
from todo_service.queries.user_lists import Position
from todo_service.routes import responses
from todo_service.routes.descriptions import describe
from todo_service.routes.public_paths import public_path
from todo_service.routes.table import Route
from todo_service.routes.task_lists import TOTAL
from todo_service.wire import cursors
from todo_service.wire.recovery import MailAccepted
from todo_service.wire.users import Accounts, Profile, UserQuery, UserUpdate, profile


@describe({200: Accounts}, response_headers=(hdrs.LINK, TOTAL))
async def list_users(request: web.Request, query: UserQuery) -> web.Response:
    """Answer a page of accounts, newest first."""
    try:
        after = query.position()
    except ValueError:
        message = "is not the `next_cursor` of a list with these filters: start again without it"
        raise invalid("cursor", message, "cursor") from None
    async with request.app[DATABASE].connection() as db:
        entry = audit.entry_of(request, "users_listed", f"skip {query.skip}, limit {query.limit}")
        await audit_log.insert(db, entry, subject_id=audit.EVERYONE)
        page = await user_lists.select_page(db, query.filter(), after=after, skip=query.skip, limit=query.limit)
    headers, cursor = responses.PRIVATE | {TOTAL: str(page.total)}, None
    if page.has_more:
        last = Position(page.users[-1].created_at, page.users[-1].id)
        cursor = cursors.write_user(last, digest=query.digest())
        next_page = request.rel_url.without_query_params("skip").update_query(cursor=cursor, limit=query.limit)
        headers[hdrs.LINK] = f'<{public_path(request, next_page.raw_path_qs)}>; rel="next"'
    document = {
        "users": [profile(row) for row in page.users],
        "total": page.total,
        "total_is_estimate": page.is_estimate,
        "skip": query.skip,
        "limit": query.limit,
        "next_cursor": cursor,
    }
    return responses.json(document, headers=headers)


@describe({200: Profile})
async def read_user(request: web.Request) -> web.Response:
    """Answer one account."""
    async with request.app[DATABASE].connection() as db:
        user = await users.select(db, user_id=_account_id(request))
        if user is None:
            raise NotFound(NO_SUCH_USER)
        await audit_log.insert(db, audit.entry_of(request, "user_read"), subject_id=user.id)
    return responses.json(profile(user), headers=responses.PRIVATE)


@describe({200: Profile}, errors=(LastAdmin, AdminNeedsPassword))
async def update_user(request: web.Request, body: UserUpdate) -> web.Response:
    """Change role, activity or name of an account."""
    user = await administration.update(
        request.app[DATABASE],
        _account_id(request),
        body.changes(),
        audit.entry_of(request, "user_updated"),
    )
    return responses.json(profile(user), headers=responses.PRIVATE)


@describe({204: None}, errors=(LastAdmin,))
async def delete_user(request: web.Request) -> web.Response:
    """Delete an account with all its data."""
    await administration.delete(
        request.app[DATABASE],
        _account_id(request),
        audit.entry_of(request, "account_deleted"),
    )
    return responses.no_content()


@describe({202: MailAccepted}, errors=(MailNotConfigured, NoPasswordAccount, AccountInactive))
async def send_password_reset(request: web.Request) -> web.Response:
    """Send a link for a new password to the email of an account."""
    async with request.app[DATABASE].connection() as db:
        user = await users.select(db, user_id=_account_id(request))
    if user is None:
        raise NotFound(NO_SUCH_USER)
    await request.app[RECOVERY].send_reset(user, audit.entry_of(request, "password_reset_requested"))
    return responses.json({"message": ON_ITS_WAY}, status=202, headers=responses.SECRET)


def _account_id(request: web.Request) -> str:
    """The id in the path; an id that the database cannot store has no user."""
    account_id = request.match_info["account_id"]
    if "\0" in account_id or not account_id.isprintable():
        raise NotFound(NO_SUCH_USER)
    return account_id


ON_ITS_WAY = "A link is on its way to the account's email. It is valid for 30 minutes."
ONE = "/api/v1/users/{account_id}"
USERS = (
    Route("GET", "/api/v1/users", list_users, Access.ADMIN, "List accounts", query=UserQuery),
    Route("GET", ONE, read_user, Access.ADMIN, "Read an account"),
    Route("PATCH", ONE, update_user, Access.ADMIN, "Change an account", body=UserUpdate),
    Route("DELETE", ONE, delete_user, Access.ADMIN, "Delete an account"),
    Route("POST", f"{ONE}/password-reset", send_password_reset, Access.ADMIN, "Send an account a link"),
)
