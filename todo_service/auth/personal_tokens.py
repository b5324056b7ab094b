"""Personal access tokens: created by a user for a script or an agent, limited by scopes, ended one by one.

`todo_pat_`, 32 characters of base62 (190 bits) and their CRC-32 in 6: secret scanners find one by its prefix, and a
mistyped one is refused without a query. The form is that of GitHub's tokens.
"""

import asyncio
import hashlib
import secrets
import string
import time
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog
import uuid_utils
from aiohttp import web

from todo_service.auth.accounts import make_owner
from todo_service.auth.caller import Caller, Kind
from todo_service.auth.revocations import Revocations
from todo_service.auth.tokens import TokenError
from todo_service.errors import Overloaded, QuotaExceeded, Unauthenticated
from todo_service.postgres.database import Database
from todo_service.postgres.failures import describe, is_schema_mismatch, is_unavailable
from todo_service.queries import audit_log, personal_tokens, users
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.personal_tokens import PersonalTokenRow

PREFIX = "todo_pat_"
LENGTH = 32  # characters of the secret
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
MAX_TOKENS = 50  # of a user
FLUSH_SECONDS = 25
BATCH = 500
NOT_OURS = "This is not a personal access token of this service, or it has been ended. Make a new one."
EXPIRED = "The personal access token has expired. Make a new one."
ENDED = "The token has been revoked. Sign in again."
INACTIVE = "The user of this token has been deactivated. Ask an administrator to activate the account."

log = structlog.get_logger()


def generate() -> str:
    """Return a new token."""
    secret = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return f"{PREFIX}{secret}{checksum(secret)}"


def checksum(secret: str) -> str:
    """Return the CRC-32 of a token's secret in 6 characters of base62."""
    number, digits = zlib.crc32(secret.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def is_well_formed(token: str) -> bool:
    """Return whether a token has the form of ours and its checksum."""
    secret, check = token[len(PREFIX) : -6], token[-6:]
    is_long_enough = len(token) == len(PREFIX) + LENGTH + 6 and token.startswith(PREFIX)
    return is_long_enough and set(secret) <= set(ALPHABET) and checksum(secret) == check


class PersonalTokens:
    """Makes, verifies and ends the tokens, and records their uses twice a minute."""

    def __init__(self, database: Database, revocations: Revocations) -> None:
        self._database = database
        self._revocations = revocations
        self._uses: dict[UUID, tuple[str, float]] = {}  # the user of a token, and Unix seconds

    async def create(
        self, caller: Caller, *, name: str, scopes: Sequence[str], days: int, is_strict: bool, audit: AuditEntry
    ) -> tuple[str, PersonalTokenRow]:
        """Return a new token, which is not readable later. A caller from elsewhere gets a row with the first one.

        Raises:
            QuotaExceeded: The user has `MAX_TOKENS` that have not expired.
            Unauthenticated: The account is deleted or deactivated, or its tokens have ended a moment ago.
        """
        token, token_id = generate(), UUID(int=uuid_utils.uuid7().int)
        async with self._database.transaction() as db:
            user = await users.lock(db, user_id=caller.user_id)
            if user is None:
                await make_owner(db, caller)
                user = await users.lock(db, user_id=caller.user_id)
            if user is None:
                raise Overloaded  # deleted again at once: the next try is sound
            if not user.is_active or (caller.generation or user.generation) < user.generation:
                raise Unauthenticated(ENDED)  # this worker has not read it yet, and the token would outlive it
            if await personal_tokens.count(db, user_id=caller.user_id) >= MAX_TOKENS:
                raise QuotaExceeded(f"You have {MAX_TOKENS} personal access tokens. End one that you no longer need.")
            row = await personal_tokens.insert(
                db,
                user_id=caller.user_id,
                token_id=token_id,
                token_hash=_hash(token),
                name=name,
                scopes=scopes,
                is_strict=is_strict,
                last_four=token[-4:],
                days=days,
            )
            entry = audit._replace(detail=f"token {token_id}: {' '.join(scopes)}")
            await audit_log.insert(db, entry, subject_id=caller.user_id)
        log.info("personal_token_created", user_id=caller.user_id, token=str(token_id), scopes=[*scopes])
        return token, row

    async def end(self, user_id: str, token_id: UUID, audit: AuditEntry) -> bool:
        """End a token; False if the user has none with this id."""
        async with self._database.transaction() as db:
            if not await personal_tokens.delete(db, user_id=user_id, token_id=token_id):
                return False
            await audit_log.insert(db, audit._replace(detail=f"token {token_id}"), subject_id=user_id)
        log.info("personal_token_ended", user_id=user_id, token=str(token_id))
        return True

    async def verify(self, token: str) -> tuple[Caller, int]:
        """Return the caller of a token, and the token's expiry in Unix seconds.

        Raises:
            TokenError: It is malformed, unknown, ended or expired, or its user is inactive.
        """
        if not is_well_formed(token):
            raise TokenError(NOT_OURS)
        async with self._database.connection() as db:
            holder = await personal_tokens.select_by_hash(db, token_hash=_hash(token))
        # A token that ends while it is read here is among the ended ones by now, or its end evicts it from the cache.
        if holder is None or self._revocations.is_ended(holder.token_id):
            raise TokenError(NOT_OURS)
        if holder.is_expired:
            raise TokenError(EXPIRED)
        if not holder.is_active or not self._revocations.is_valid(holder.user_id, None):
            raise TokenError(INACTIVE)
        caller = Caller(
            Kind.TOKEN,
            holder.user_id,
            scopes=frozenset(holder.scopes),
            token_id=holder.token_id,
            source=str(holder.token_id),
            is_strict=holder.is_strict,
        )
        return caller, int(holder.expires_at.timestamp())

    def note_use(self, caller: Caller) -> None:
        """Note that the caller's token was used now."""
        if caller.token_id is not None:
            self._uses[caller.token_id] = caller.user_id, time.time()

    async def follow(self) -> None:
        """Record the uses for ever. A database that is down is tried again."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Record the uses that were noted since the last time."""
        uses, self._uses = self._uses, {}
        entries = [(user_id, key, datetime.fromtimestamp(at, UTC)) for key, (user_id, at) in uses.items()]
        try:
            for start in range(0, len(entries), BATCH):
                async with self._database.connection() as db:
                    await personal_tokens.update_used(db, uses=entries[start : start + BATCH])
        except BaseException as error:  # also when this task is cancelled: the last flush follows
            self._uses = uses | self._uses
            if not isinstance(error, Exception):
                raise
            if not is_unavailable(error) and not is_schema_mismatch(error):
                log.exception("token_uses_not_recorded", error=describe(error))

    async def open(self) -> None:
        """Do nothing: the first use comes later."""

    async def close(self) -> None:
        """Record the last uses."""
        await self.flush()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


PERSONAL_TOKENS = web.AppKey("personal_tokens", PersonalTokens)
