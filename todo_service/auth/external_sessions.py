"""Session tokens of an auth server that keeps its sessions in a table of our database (Better Auth and its like).

The column holds either the token's HMAC or the token itself, by setting, and never is both looked for: where hashing is
on, a stored value is no token. A signed one (`token.signature`, as Better Auth's cookies have it) must be signed well.
"""

import base64
import hmac
import re
from urllib.parse import unquote

from aiohttp import web

from todo_service.auth.jose import NOT_ACCEPTED
from todo_service.auth.tokens import USER_ID, TokenError
from todo_service.postgres.pool import Database
from todo_service.queries import external_sessions

MAX_LENGTH = 512
_SHAPE = re.compile(r"[!-~]{16,512}")


class SessionTokens:
    """Looks sessions up in `table`. `storage` is "hashed", which needs `hash_secret`, or "plain"; `signing_secret` is
    the auth server's. Without what it needs, no session token is accepted.
    """

    def __init__(
        self, database: Database, *, table: str, storage: str, hash_secret: str | None, signing_secret: str | None
    ) -> None:
        self._database = database
        self.statement = external_sessions.select_user_from(table)
        self._is_on = storage == "plain" or hash_secret is not None
        self._hash_secret = hash_secret.encode() if storage == "hashed" and hash_secret else None
        self._signing_secret = signing_secret.encode() if signing_secret else None

    async def user_of(self, shown: str) -> str:
        """The id of the user whose session this is. Raises `TokenError` if there is none that holds."""
        if not self._is_on or len(shown) > MAX_LENGTH:
            raise TokenError(NOT_ACCEPTED)
        token = self._bare(unquote(shown))
        async with self._database.connection() as db:
            user_id = await external_sessions.select_user(db, self.statement, token=self._stored(token))
        if user_id is None or not USER_ID.fullmatch(user_id):
            raise TokenError("The session is over. Sign in again.")
        return user_id

    def _bare(self, token: str) -> str:
        """The token without its signature."""
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

    def _stored(self, token: str) -> str:
        """What the column holds for it."""
        return hmac.digest(self._hash_secret, token.encode(), "sha256").hex() if self._hash_secret else token


SESSION_TOKENS = web.AppKey("session_tokens", SessionTokens)
