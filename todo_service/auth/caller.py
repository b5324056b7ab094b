"""The facts about a request that its middlewares establish: its id, its caller, the owner of its tasks."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from aiohttp import web

ADMIN = "admin"


class Kind(StrEnum):
    """The origin of a caller: a sign-in here, a credential of a trusted auth server, or a service acting for a user."""

    ACCOUNT = "account"
    OUTSIDE = "outside"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    Attributes:
        user_id: Opaque; a UUID only for accounts made here.
        role: `user` or `admin`; only an account made here can be an administrator.
        session_id: The session of the access token; None for callers from elsewhere.
    """

    kind: Kind
    user_id: str
    email: str | None = None
    role: str = "user"
    session_id: UUID | None = None


REQUEST_ID = web.RequestKey("request_id", str)
CALLER = web.RequestKey("caller", Caller)
OWNER = web.RequestKey("owner", str)
