"""Access levels of routes, and the owner of the task that an administrator addresses."""

from enum import Enum
from uuid import UUID

from aiohttp import web

from todo_service.auth.caller import Caller, Kind
from todo_service.auth.tokens import USER_ID
from todo_service.config.scopes import PERSONAL, Scope
from todo_service.errors import NO_SUCH_TASK, AmbiguousTask, InsufficientScope, NotFound
from todo_service.postgres.database import DATABASE
from todo_service.queries import tasks

NO_OWNER = ""  # an id that no user has


class Access(Enum):
    """The callers that a route lets in.

    PUBLIC: everyone, without a look at credentials. USER: any authenticated caller. PERSON: a user with a sign-in here
    or at the auth server, and a personal access token of the row's scopes, but no service. ACCOUNT: a caller with an
    access token of a sign-in here. ADMIN: an administrator.
    """

    PUBLIC = "public"
    USER = "user"
    PERSON = "person"
    ACCOUNT = "account"
    ADMIN = "admin"


def check_scope(caller: Caller, *allowed: Scope) -> None:
    """Check that the caller's credential has one of these scopes, if it is limited to some.

    Raises:
        InsufficientScope: It has none of them; with none allowed, every limited credential is refused.
    """
    if caller.scopes is not None and caller.scopes.isdisjoint(allowed):
        raise InsufficientScope([scope for scope in allowed if scope in PERSONAL or caller.kind is not Kind.TOKEN])


async def owner_for_admin(request: web.Request, task_id: UUID, admin_id: str) -> str:
    """Return the owner of the task that an administrator addresses.

    That is the user in the query (`user_id`), else the administrator, else the only user with this task id.

    Raises:
        NotFound: No user has a task with this id.
        AmbiguousTask: Several other users have one.
    """
    if (user_id := request.query.get("user_id")) is not None:
        return user_id if USER_ID.fullmatch(user_id) else NO_OWNER
    async with request.app[DATABASE].connection() as db:
        owners = await tasks.select_owners(db, task_id=task_id)
    if admin_id in owners:
        return admin_id
    if not owners:
        raise NotFound(NO_SUCH_TASK)
    if len(owners) > 1:
        raise AmbiguousTask
    return owners[0]
