"""The caller of a request, and whose tasks the request is about."""

from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose credential was checked. `user_id` is opaque: a UUID only for accounts made here."""

    user_id: str
    email: str | None
    role: str


CALLER = web.RequestKey("caller", Caller)
OWNER = web.RequestKey("owner", str)
