"""Sessions: refresh tokens that rotate at every use (RFC 9700, section 4.14.2).

A refresh token is 256 random bits, or derived from its predecessor by HMAC under a key of the server: a second use
within the reuse window (two tabs, an answer lost on a train) gets the same successor, and nothing is stored in clear.
A use after the window means that two parties hold the token: the whole session ends. Where users are spread over
several servers, a token names its user in front, so that one server is asked; either form is taken everywhere.
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

from todo_service.auth.tokens import USER_ID
from todo_service.errors import Unauthenticated, WrongPassword
from todo_service.observability.metrics import Metrics
from todo_service.postgres.connection import Connection, is_distributed
from todo_service.postgres.database import Database
from todo_service.queries import audit_log, refresh_tokens, standbys, users
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.refresh_tokens import Rotation
from todo_service.queries.users import UserRow

OVER = "This session is over. Sign in again."
DERIVATION = b"todo-service refresh token successor"
_SHAPE = re.compile(r"(?:[A-Za-z0-9_-]{2,1400}\.)?[A-Za-z0-9_-]{43}", re.ASCII)

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

    async def start(self, user: UserRow, audit: AuditEntry, *, user_agent: str | None = None) -> Session:
        """Start a session. Raises `WrongPassword` if the user's sessions were ended since `user` was read."""
        async with self._database.transaction() as db:
            session = Session(uuid4(), user, _token(db, user.id, secrets.token_bytes(32)))
            started = await refresh_tokens.insert(
                db,
                token_hash=_hash(session.refresh_token),
                user_id=user.id,
                family_id=session.id,
                lifetime=self._lifetime,
                generation=user.generation,
                user_agent=user_agent,
            )
            if not started:
                raise WrongPassword
            entry = audit._replace(actor_id=user.id, detail=f"session {session.id}")
            await audit_log.insert(db, entry, subject_id=user.id)
        log.info("session_begun", user_id=user.id, session=str(session.id))
        return session

    async def rotate(self, token: str, audit: AuditEntry) -> Session:
        """Return the session of a refresh token with its next one. Raises `Unauthenticated` if it is over.

        Args:
            audit: Recorded if the token was used before, so that its session ends.
        """
        rotation, successors = await self._rotate(token) if _SHAPE.fullmatch(token) else (None, {})
        if rotation is None:
            self._metrics.auth_event("refresh", "refused")
            raise Unauthenticated(OVER)
        if rotation.successor is None:
            self._metrics.auth_event("refresh", "reused")
            log.warning("refresh_token_reused", user_id=rotation.user.id, session=str(rotation.family_id))
            await self.end(rotation.user.id, rotation.family_id, audit)
            raise Unauthenticated(OVER)
        log.info("session_refreshed", user_id=rotation.user.id, session=str(rotation.family_id))
        self._metrics.auth_event("refresh", "succeeded")
        return Session(rotation.family_id, rotation.user, successors[rotation.successor])

    async def _rotate(self, token: str) -> tuple[Rotation | None, dict[bytes, str]]:
        """Use a token. Returns its successor under each key of the server too, by its hash."""
        async with self._database.connection() as db:
            user_id = _named_user(token)
            if user_id is None and is_distributed(db):
                user_id = await refresh_tokens.select_user(db, token_hash=_hash(token)) or ""
            tokens = [_token(db, user_id or "", hmac.digest(key, token.encode(), "sha256")) for key in self._keys]
            successors = {_hash(successor): successor for successor in tokens}
            rotation = await refresh_tokens.rotate(
                db,
                user_id=user_id,
                token_hash=_hash(token),
                successor=next(iter(successors)),
                possible_successors=list(successors),
                reuse_seconds=self._reuse_seconds,
            )
            return rotation, successors

    async def end(self, user_id: str, session_id: UUID, audit: AuditEntry) -> bool:
        """End one session with its access tokens; False if it is over, or no session of this user."""
        async with self._database.transaction() as db:
            if not await refresh_tokens.delete_family(db, user_id=user_id, family_id=session_id):
                return False
            await audit_log.insert(db, audit._replace(detail=f"session {session_id}"), subject_id=user_id)
        log.info("session_ended", user_id=user_id, session=str(session_id))
        return True

    async def end_all(self, user_id: str, audit: AuditEntry) -> None:
        """End every session and every access token of a user."""
        async with self._database.transaction() as db:
            await end_all(db, user_id)
            await audit_log.insert(db, audit, subject_id=user_id)
        log.info("sessions_ended", user_id=user_id)

    async def find(self, token: str, *, is_current: bool) -> tuple[str, UUID] | None:
        """Return the user and the session of a refresh token, or None if there is no such session.

        Args:
            is_current: Only of a token that would be exchanged: an older one may be in other hands.
        """
        if not _SHAPE.fullmatch(token):
            return None
        async with self._database.connection() as db:
            user_id = _named_user(token)
            if user_id is None:
                user_id = await refresh_tokens.select_user(db, token_hash=_hash(token))
            family_id = user_id and await refresh_tokens.select_family(
                db,
                token_hash=_hash(token),
                user_id=user_id,
                reuse_seconds=self._reuse_seconds if is_current else None,
            )
            if user_id and family_id:
                return user_id, family_id
            await standbys.wait(db)  # it may have been ended a moment ago
        return None


SESSIONS = web.AppKey("sessions", Sessions)


async def end_all(db: Connection, user_id: str) -> None:
    """End every session and access token of a user. Needs a transaction."""
    await users.raise_generation(db, user_id=user_id)
    await refresh_tokens.delete_others(db, user_id=user_id, family_id=None)


def _named_user(token: str) -> str | None:
    """Return the user that a token names: None if it names none, nobody's id if it is not one of ours."""
    user, _, _ = token.rpartition(".")
    if not user:
        return None
    try:
        user_id = base64.urlsafe_b64decode(user + "==").decode()
    except ValueError:
        return ""
    return user_id if USER_ID.fullmatch(user_id) else ""


def _token(db: Connection, user_id: str, secret: bytes) -> str:
    return f"{_encode(user_id.encode())}.{_encode(secret)}" if is_distributed(db) else _encode(secret)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
