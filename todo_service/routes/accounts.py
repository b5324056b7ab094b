"""One's own account: read and change the profile, change the password, delete the account.

`/api/v1` is for new clients, the rest for older ones.
"""

from aiohttp import web

from todo_service.auth import accounts, audit
from todo_service.auth.access import Access
from todo_service.auth.caller import CALLER, OWNER, Kind
from todo_service.config.scopes import Scope
from todo_service.errors import LastAdmin, NotFound, Unauthenticated, WrongPassword, invalid
from todo_service.limits.rate import Limit
from todo_service.postgres.database import DATABASE
from todo_service.queries import users
from todo_service.queries.users import UserRow
from todo_service.routes import responses
from todo_service.routes.auth import OLD, OLDER, V1, hasher
from todo_service.routes.descriptions import describe
from todo_service.routes.table import Route
from todo_service.wire.auth import Verified
from todo_service.wire.new_passwords import is_email
from todo_service.wire.users import Confirmation, PasswordChange, Profile, ProfileUpdate, profile


@describe({200: Profile}, errors=(NotFound,))
async def read_me(request: web.Request) -> web.Response:
    """Read your profile."""
    user = await _user(request)
    if user is None:
        raise NotFound("You have no profile here yet. It is made with your first task.")
    return responses.json(profile(user), headers=responses.PRIVATE)


@describe({200: Profile})
async def update_me(request: web.Request, body: ProfileUpdate) -> web.Response:
    """Change your profile."""
    if "full_name" not in body.model_fields_set:
        return await read_me(request)
    async with request.app[DATABASE].connection() as db:
        user = await users.update_full_name(db, user_id=request[OWNER], full_name=body.full_name)
    if user is None:
        raise Unauthenticated(accounts.GONE)
    return responses.json(profile(user), headers=responses.PRIVATE)


@describe({204: None}, errors=(WrongPassword,))
async def change_password(request: web.Request, body: PasswordChange) -> web.Response:
    """Change your password and end your other sessions. Access tokens end too: go on with the refresh token."""
    database, session_id = request.app[DATABASE], request[CALLER].session_id
    assert session_id is not None  # every access token of an account names its session
    user = await accounts.read(database, request[OWNER])
    if user.email is not None and is_email(body.new_password, user.email):
        raise invalid("new_password", "must not be the email or its first part", "password_is_email")
    await accounts.change_password(
        database,
        hasher(request),
        user,
        session_id=session_id,
        current=body.current_password,
        new=body.new_password,
        audit=audit.entry_of(request, "password_changed"),
    )
    return responses.no_content()


@describe({204: None}, errors=(WrongPassword, LastAdmin))
async def delete_me(request: web.Request, body: Confirmation) -> web.Response:
    """Delete your account with all its data."""
    database = request.app[DATABASE]
    user = await accounts.read(database, request[OWNER])
    entry = audit.entry_of(request, "account_deleted")
    await accounts.delete(database, hasher(request), user, password=body.password, audit=entry)
    return responses.no_content()


@describe({200: Verified})
async def verify(request: web.Request) -> web.Response:
    """Return your id and email, for a front end that checks its token at the start."""
    user, caller = await _user(request), request[CALLER]
    email = (user.email if user else None) or caller.email
    return responses.json({"user_id": caller.user_id, "email": email, "verified": True}, headers=responses.PRIVATE)


async def _user(request: web.Request) -> UserRow | None:
    """The caller's row; None for a caller from elsewhere without one."""
    if request[CALLER].kind is Kind.ACCOUNT:
        return await accounts.read(request.app[DATABASE], request[OWNER])
    async with request.app[DATABASE].connection() as db:
        return await users.select(db, user_id=request[OWNER])


ACCOUNT_READ = (Scope.ACCOUNT_READ,)
ACCOUNTS = (
    Route("GET", f"{V1}/me", read_me, Access.USER, "Read my profile", ACCOUNT_READ),
    Route("GET", f"{OLD}/me", read_me, Access.USER, f"Read my profile {OLDER}", ACCOUNT_READ, name="app_read_me"),
    Route("PATCH", f"{V1}/me", update_me, Access.ACCOUNT, "Change my profile", body=ProfileUpdate),
    Route("DELETE", f"{V1}/me", delete_me, Access.ACCOUNT, "Delete my account", body=Confirmation, limit=Limit.AUTH),
    Route(
        "POST",
        f"{V1}/password",
        change_password,
        Access.ACCOUNT,
        "Change my password",
        body=PasswordChange,
        limit=Limit.AUTH,
    ),
    Route("GET", f"{OLD}/verify", verify, Access.USER, "Check my token", ACCOUNT_READ),
)
