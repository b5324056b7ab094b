"""JWTs of auth servers: under a secret that is shared with one, or under a key that it publishes.

The `alg` and `typ` of a token decide which of the two it must be, before any key is looked up. No claim of such a token
gives a role: its caller is a user.
"""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from aiohttp import web

from todo_service.auth.jose import NOT_ACCEPTED
from todo_service.auth.jwks import ALGORITHMS, JwksClient
from todo_service.auth.tokens import LEEWAY, TYPE, USER_ID, TokenError

SHARED_ALGORITHM = "HS256"
MAX_LIFETIME = 31 * 24 * 60 * 60  # seconds from now; a later expiry is a mistake
_EMAIL = re.compile(r"[^\s\0-\x1f\x7f\ud800-\udfff@]+@[^\s\0-\x1f\x7f\ud800-\udfff@]+")
_MAX_EMAIL = 254
_KID = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}", re.ASCII)
_TIMES = ("exp", "nbf", "iat")


@dataclass(frozen=True, slots=True)
class Identity:
    """The subject of a valid token; `email` only if it is plausible, `expires_at` in Unix seconds."""

    user_id: str
    email: str | None
    expires_at: int


def is_external(header: Mapping[str, str]) -> bool:
    """Return whether a token with this header is not one of ours: those are HMACs with a `typ` of their own."""
    return header.get("alg") in ALGORITHMS or header.get("typ") != TYPE


class ExternalJwts:
    """Verifies the tokens of trusted auth servers.

    Args:
        shared_secret: The secret shared with an auth server; None turns such tokens off.
        jwks: The published keys of an auth server; None turns such tokens off.
        issuer: The `iss` of every token under a published key, and of any other token that has one.
        audience: The same for `aud`.
    """

    def __init__(
        self, *, shared_secret: str | None, jwks: JwksClient | None, issuer: str | None, audience: str | None
    ) -> None:
        self._shared_secret = shared_secret
        self._jwks = jwks
        self._required = {name: value for name, value in (("iss", issuer), ("aud", audience)) if value is not None}

    async def verify(self, token: str, header: Mapping[str, str], claims: Mapping[str, Any]) -> Identity:
        """Return the identity in a token, given its parts as `jose.split_jwt` reads them.

        Raises:
            TokenError: The token is not valid.
            IssuerUnavailable: Its key cannot be fetched now.
        """
        algorithm = header.get("alg", "")
        identity = self._identity(claims, published=algorithm in ALGORITHMS)
        key = await self._key(header, algorithm)
        try:
            jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                leeway=LEEWAY,
                options={"require": ["exp"], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError:
            raise TokenError("The token has expired; sign in again.") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise TokenError(NOT_ACCEPTED) from None
        return identity

    async def _key(self, header: Mapping[str, str], algorithm: str) -> Any:
        """The one key that may have signed this token."""
        typ, kid = header.get("typ", "JWT"), header.get("kid")
        if algorithm == SHARED_ALGORITHM and typ == "JWT" and self._shared_secret is not None:
            return self._shared_secret
        if algorithm in ALGORITHMS and typ in {"JWT", TYPE} and self._jwks is not None:
            if kid is None or not _KID.fullmatch(kid):
                raise TokenError(NOT_ACCEPTED)
            key = await self._jwks.find(kid, algorithm)
            if key is not None:
                return key
        raise TokenError(NOT_ACCEPTED)

    def _identity(self, claims: Mapping[str, Any], *, published: bool) -> Identity:
        if not all(_is_numeric_date(claims[name]) for name in _TIMES if name in claims) or "exp" not in claims:
            raise TokenError(NOT_ACCEPTED)
        if claims["exp"] > time.time() + MAX_LIFETIME or claims["exp"] < 0:
            raise TokenError(NOT_ACCEPTED)
        for name, value in self._required.items():
            if not _holds(claims.get(name), name, value) and (published or name in claims):
                raise TokenError(NOT_ACCEPTED)
        email = claims.get("email")
        plausible = isinstance(email, str) and len(email) <= _MAX_EMAIL and _EMAIL.fullmatch(email)
        return Identity(_subject(claims), email if plausible else None, int(claims["exp"]))


def _is_numeric_date(value: object) -> bool:
    """Return whether a claim is a NumericDate (RFC 7519 section 2): a number, with a fraction or without."""
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def _holds(claim: object, name: str, value: str) -> bool:
    """Return whether a claim is the value, or an audience of several that has it (RFC 7519 section 4.1.3)."""
    return claim == value or (name == "aud" and isinstance(claim, list) and value in claim)


def _subject(claims: Mapping[str, Any]) -> str:
    """Never by `email`, `id` or `userId`: links that verify an email address are signed with the same secret."""
    values = {claims[name] if isinstance(claims[name], str) else None for name in ("sub", "user_id") if name in claims}
    subject: str | None = values.pop() if len(values) == 1 else None
    if subject is None or not USER_ID.fullmatch(subject):
        raise TokenError(NOT_ACCEPTED)
    return subject


EXTERNAL_JWTS = web.AppKey("external_jwts", ExternalJwts)
