"""What is known of a request: its id, its caller, and whose tasks it is about."""

from dataclasses import dataclass
from uuid import UUID

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose credential was checked. `user_id` is opaque: a UUID only for accounts made here."""

    user_id: str
    email: str | None
    role: str
    session_id: UUID

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


REQUEST_ID = web.RequestKey("request_id", str)
CALLER = web.RequestKey("caller", Caller)
OWNER = web.RequestKey("owner", str)
