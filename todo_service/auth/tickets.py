"""Tickets: a bearer token, sealed for one minute, for clients that can send no header (a browser's `EventSource`).

The token inside is checked like any other when the ticket is used and as long as the stream is open, so a ticket gives
nothing that its token does not give, and its stream ends with the token.
"""

import base64
from collections.abc import Sequence

from aiohttp import web
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from todo_service.errors import Unauthenticated

SECONDS = 60
PURPOSE = b"todo-service stream ticket"
NOT_VALID = "The ticket has expired or is not one of this service. Ask for a new one."


class Tickets:
    """Seals tokens under keys derived from those of access tokens; the first seals, all of them open."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = MultiFernet([Fernet(_derive(key)) for key in keys])

    def seal(self, token: str) -> str:
        """Return a ticket for a token."""
        return self._keys.encrypt(token.encode(errors="surrogateescape")).decode()

    def open(self, ticket: str) -> str:
        """Return the token of a ticket. Raises `Unauthenticated` if it is not valid."""
        try:
            return self._keys.decrypt(ticket.encode(errors="replace"), ttl=SECONDS).decode(errors="surrogateescape")
        except InvalidToken:
            raise Unauthenticated(NOT_VALID) from None


def _derive(key: str) -> bytes:
    return base64.urlsafe_b64encode(HKDF(SHA256(), length=32, salt=None, info=PURPOSE).derive(key.encode()))


TICKETS = web.AppKey("tickets", Tickets)
TOKEN = web.RequestKey("token", str)  # the one in the ticket of the request
