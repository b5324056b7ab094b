"""Sessions of an auth server that keeps them in a table of our database, such as Better Auth.

The column holds either the token's HMAC or the token itself, by setting, and only that form is looked up: with hashing
on, a stored value is not a token. The signature of a signed token (`token.signature`, as in Better Auth's cookies) is
verified.
"""

import base64
import hmac
import re
from urllib.parse import unquote

from aiohttp import web

from todo_service.auth.jose import NOT_ACCEPTED
from todo_service.auth.tokens import USER_ID, TokenError
from todo_service.postgres.database import Database
from todo_service.queries import external_sessions
from todo_service.queries.external_sessions import SessionUser

MAX_LENGTH = 512
_SHAPE = re.compile(r"[!-~]{16,512}")


class ExternalSessions:
    """Looks up sessions.

    Args:
        table: Its name, or its schema and name.
        storage: `hashed`, which needs a `hash_secret`, or `plain`; without the secret no token is accepted.
        signing_secret: The auth server's secret for signed tokens; None refuses them.
    """

    def __init__(
        self, database: Database, *, table: str, storage: str, hash_secret: str | None, signing_secret: str | None
    ) -> None:
        self._database = database
        self.statements = external_sessions.statements_for(table)
        self._is_on = storage == "plain" or hash_secret is not None
        self._hash_secret = hash_secret.encode() if storage == "hashed" and hash_secret else None
        self._signing_secret = signing_secret.encode() if signing_secret else None

    async def user_of(self, credential: str) -> SessionUser:
        """Return the user of a session. Raises `TokenError` if there is no such session or it has expired."""
        if not self._is_on or len(credential) > MAX_LENGTH:
            raise TokenError(NOT_ACCEPTED)
        token = self._without_signature(unquote(credential))
        async with self._database.connection() as db:
            user = await external_sessions.select_user(db, self.statements, token=self._column_value(token))
        if user is None or not USER_ID.fullmatch(user.id):
            raise TokenError("The session is over. Sign in again.")
        return user

    def _without_signature(self, token: str) -> str:
        bare, dot, signature = token.rpartition(".")
        if dot:
            if self._signing_secret is None:
                raise TokenError(NOT_ACCEPTED)
            right = base64.b64encode(hmac.digest(self._signing_secret, bare.encode(errors="replace"), "sha256"))
            if not hmac.compare_digest(signature.encode(errors="replace"), right):
                raise TokenError(NOT_ACCEPTED)
            token = bare
        if not _SHAPE.fullmatch(token):
            raise TokenError(NOT_ACCEPTED)
        return token

    def _column_value(self, token: str) -> str:
        return hmac.digest(self._hash_secret, token.encode(), "sha256").hex() if self._hash_secret else token


EXTERNAL_SESSIONS = web.AppKey("external_sessions", ExternalSessions)
