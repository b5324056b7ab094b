"""Our own access tokens: JWTs of RFC 9068's type, signed with a secret of ours.

A token cannot choose how it is verified: header members other than `alg` and `typ`, other algorithms than the
configured one, other spellings of base64 and claims of another type are refused.
"""

import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt

ISSUER = AUDIENCE = "todo-service"
TYPE = "at+jwt"
ROLES = frozenset({"user", "admin"})
LEEWAY = 30  # seconds between two machines' clocks
MAX_LIFETIME = 24 * 60 * 60  # seconds; the longest that the settings allow
NOT_OURS = "The token is not an access token of this service."
MAX_LENGTH = 8 * 1024  # characters; a longer token is refused unread
_SHAPE = re.compile(r"[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{43,86}", re.ASCII)
USER_ID = re.compile(r"[^\0\ud800-\udfff]{1,255}", re.DOTALL)  # text that PostgreSQL can store
_REQUIRED = ["sub", "user_id", "role", "iss", "aud", "iat", "nbf", "exp", "jti", "gen", "sid"]
_CLAIM_TYPES = {
    "sub": str,
    "user_id": str,
    "role": str,
    "iat": int,
    "nbf": int,
    "exp": int,
    "jti": str,
    "gen": int,
    "sid": str,
    "epoch": int,  # absent in tokens of older releases
}


class TokenError(Exception):
    """The token is not valid; the text is the reason, without any part of the token."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a valid access token.

    `generation` is the account's at issue, `epoch` the database's, `expires_at` in Unix seconds.
    """

    user_id: str
    email: str | None
    role: str
    generation: int
    session_id: UUID
    expires_at: int
    epoch: int = 0


class AccessTokens:
    """Signs and verifies access tokens.

    Args:
        keys: The first signs, all of them verify, so a key is replaced without ending sessions.
        algorithm: HS256, HS384 or HS512.
        lifetime: Seconds.
    """

    def __init__(self, keys: Sequence[str], *, algorithm: str, lifetime: int) -> None:
        self._keys = tuple(keys)
        self._algorithm = algorithm
        self.lifetime = lifetime

    def issue(
        self, *, user_id: str, email: str | None, role: str, generation: int, session_id: UUID, epoch: int = 0
    ) -> str:
        """Return a token for this user that is valid for `lifetime` seconds."""
        now = int(time.time())
        claims = {
            "sub": user_id,
            "user_id": user_id,
            "email": email,
            "role": role,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now + self.lifetime,
            "jti": secrets.token_urlsafe(16),
            "gen": generation,
            "sid": str(session_id),
            "epoch": epoch,
        }
        return jwt.encode(claims, self._keys[0], algorithm=self._algorithm, headers={"typ": TYPE})

    def verify(self, token: str) -> Claims:
        """Return the claims of a token of ours. Raises `TokenError` for anything else."""
        if len(token) > MAX_LENGTH or not _SHAPE.fullmatch(token):
            raise TokenError(NOT_OURS)
        claims = self._decode(token)
        if claims["sub"] != claims["user_id"] or not USER_ID.fullmatch(claims["sub"]):
            raise TokenError("The token does not name one user.")
        if claims["role"] not in ROLES or not 1 <= claims["gen"] < 2**31:
            raise TokenError("The token holds a claim out of its range.")
        email = claims.get("email")
        return Claims(
            user_id=claims["sub"],
            email=email if isinstance(email, str) else None,
            role=claims["role"],
            generation=claims["gen"],
            session_id=_session_id(claims["sid"]),
            expires_at=claims["exp"],
            epoch=claims.get("epoch", 0),
        )

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            decoded = self._signed(token)
        except jwt.ExpiredSignatureError:
            raise TokenError("The token has expired; sign in again.") from None
        except (jwt.InvalidTokenError, UnicodeError):
            raise TokenError(NOT_OURS) from None
        header: dict[str, Any] = decoded["header"]
        claims: dict[str, Any] = decoded["payload"]
        if header.keys() != {"alg", "typ"} or header["typ"] != TYPE:
            raise TokenError("The token is of another kind.")
        if any(type(claims.get(name, 0)) is not kind for name, kind in _CLAIM_TYPES.items()):
            raise TokenError("The token holds a claim of the wrong type.")
        if claims["exp"] - claims["iat"] > MAX_LIFETIME:
            raise TokenError("The token is valid for longer than any of this service.")
        return claims

    def _signed(self, token: str) -> dict[str, Any]:
        """Return the token's parts, its signature verified under one key after the other."""
        for key in self._keys[:-1]:
            with suppress(jwt.InvalidSignatureError):
                return self._signed_under(key, token)
        return self._signed_under(self._keys[-1], token)

    def _signed_under(self, key: str, token: str) -> dict[str, Any]:
        return jwt.decode_complete(
            token,
            key,
            algorithms=[self._algorithm],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY,
            options={"require": _REQUIRED, "strict_aud": True},
        )


def _session_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise TokenError(NOT_OURS) from None
