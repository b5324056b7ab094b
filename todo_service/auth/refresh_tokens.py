"""Sessions: refresh tokens that rotate at every use (RFC 9700, section 4.14.2).

A refresh token is 256 random bits, or derived from its predecessor by HMAC under a key of the server: a second use
within the reuse window (two tabs, an answer lost on a train) gets the same successor, and nothing is stored in clear.
A use after the window means that two parties hold the token: the whole session ends.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog
from aiohttp import web

from todo_service.errors import Unauthenticated, WrongPassword
from todo_service.observability.metrics import Metrics
from todo_service.postgres.connection import Connection
from todo_service.postgres.database import Database
from todo_service.queries import refresh_tokens, users
from todo_service.queries.users import UserRow

OVER = "This session is over. Sign in again."
DERIVATION = b"todo-service refresh token successor"
_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in: its id, its user, and its current refresh token."""

    id: UUID
    user: UserRow
    refresh_token: str


class Sessions:
    """Starts, rotates and ends sessions.

    Args:
        keys: The server's secrets, the current one first.
        lifetime: Seconds.
        reuse_seconds: The window in which a used token still gets its successor.
    """

    def __init__(
        self, database: Database, *, keys: Sequence[str], lifetime: int, reuse_seconds: float, metrics: Metrics
    ) -> None:
        self._database = database
        self._keys = [hmac.digest(key.encode(), DERIVATION, "sha256") for key in keys]
        self._lifetime = lifetime
        self._reuse_seconds = reuse_seconds
        self._metrics = metrics

    async def start(self, user: UserRow) -> Session:
        """Start a session. Raises `WrongPassword` if the user's sessions were ended since `user` was read."""
        session = Session(uuid4(), user, _encode(secrets.token_bytes(32)))
        async with self._database.connection() as db:
            started = await refresh_tokens.insert(
                db,
                token_hash=_hash(session.refresh_token),
                user_id=user.id,
                family_id=session.id,
                lifetime=self._lifetime,
                generation=user.generation,
            )
        if not started:
            raise WrongPassword
        log.info("session_begun", user_id=user.id, session=str(session.id))
        return session

    async def rotate(self, token: str) -> Session:
        """Return the session of a refresh token with its next one. Raises `Unauthenticated` if it is over."""
        if not _SHAPE.fullmatch(token):
            self._metrics.auth_event("refresh", "refused")
            raise Unauthenticated(OVER)
        successors = {_hash(successor): successor for successor in self._successors(token)}
        async with self._database.connection() as db:
            rotation = await refresh_tokens.rotate(
                db,
                token_hash=_hash(token),
                successor=next(iter(successors)),
                possible_successors=list(successors),
                reuse_seconds=self._reuse_seconds,
            )
        if rotation is None:
            self._metrics.auth_event("refresh", "refused")
            raise Unauthenticated(OVER)
        if rotation.successor is None:
            self._metrics.auth_event("refresh", "reused")
            log.warning("refresh_token_reused", user_id=rotation.user.id, session=str(rotation.family_id))
            await self.end(rotation.user.id, rotation.family_id)
            raise Unauthenticated(OVER)
        log.info("session_refreshed", user_id=rotation.user.id, session=str(rotation.family_id))
        self._metrics.auth_event("refresh", "succeeded")
        return Session(rotation.family_id, rotation.user, successors[rotation.successor])

    async def end(self, user_id: str, session_id: UUID) -> None:
        """End one session."""
        async with self._database.transaction() as db:
            await refresh_tokens.delete_family(db, user_id=user_id, family_id=session_id)
        log.info("session_ended", user_id=user_id, session=str(session_id))

    async def end_all(self, user_id: str) -> None:
        """End every session and every access token of a user."""
        async with self._database.transaction() as db:
            await end_all(db, user_id)
        log.info("sessions_ended", user_id=user_id)

    async def find(self, token: str, *, is_current: bool) -> tuple[str, UUID] | None:
        """Return the user and the session of a refresh token, or None if there is no such session.

        Args:
            is_current: Only of a token that would be exchanged: an older one may be in other hands.
        """
        if not _SHAPE.fullmatch(token):
            return None
        async with self._database.connection() as db:
            return await refresh_tokens.select_family(
                db, token_hash=_hash(token), reuse_seconds=self._reuse_seconds if is_current else None
            )

    def _successors(self, token: str) -> list[str]:
        return [_encode(hmac.digest(key, token.encode(), "sha256")) for key in self._keys]


SESSIONS = web.AppKey("sessions", Sessions)


async def end_all(db: Connection, user_id: str) -> None:
    """End every session and access token of a user. Needs a transaction."""
    await users.raise_generation(db, user_id=user_id)
    await refresh_tokens.delete_others(db, user_id=user_id, family_id=None)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
