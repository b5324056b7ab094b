"""The facts about a request that its middlewares establish: its id, its caller, the owner of its tasks."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from aiohttp import web

from todo_service.config.scopes import Scopes

ADMIN = "admin"


class Kind(StrEnum):
    """The origin of a caller: a sign-in here, a credential of a trusted auth server, a service acting for a user, or a
    personal access token.
    """

    ACCOUNT = "account"
    OUTSIDE = "outside"
    SERVICE = "service"
    TOKEN = "token"  # noqa: S105 - a word


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    Attributes:
        user_id: Opaque; a UUID only for accounts made here.
        role: `user` or `admin`; only an account made here can be an administrator.
        generation: The generation of the access token, to be compared with the account's where it matters at once.
        session_id: The session of the access token; None for callers from elsewhere.
        scopes: The scopes that the credential is limited to; None for no limit.
        token_id: The id of the personal access token.
        source: The same as a text, for the log.
        is_strict: Whether unknown names in a body or a query are errors for this caller.
    """

    kind: Kind
    user_id: str
    email: str | None = None
    role: str = "user"
    session_id: UUID | None = None
    generation: int | None = None
    scopes: Scopes = None
    token_id: UUID | None = None
    source: str | None = None
    is_strict: bool = False


REQUEST_ID = web.RequestKey("request_id", str)
CALLER = web.RequestKey("caller", Caller)
OWNER = web.RequestKey("owner", str)
