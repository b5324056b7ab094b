"""What is known of a request: its id, its caller, whose tasks it is about, and why it was refused."""

from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from aiohttp import web


class Kind(Enum):
    """How somebody came in: with a token of ours, with a credential of a trusted auth server, or a service for them."""

    ACCOUNT = "account"
    OUTSIDE = "outside"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose credential was checked. `user_id` is opaque: a UUID only for accounts made here, and only these
    have a `session_id`, and may have another role than "user".
    """

    kind: Kind
    user_id: str
    email: str | None = None
    role: str = "user"
    session_id: UUID | None = None

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


REQUEST_ID = web.RequestKey("request_id", str)
PROBLEM = web.RequestKey("problem", str)
CALLER = web.RequestKey("caller", Caller)
OWNER = web.RequestKey("owner", str)
