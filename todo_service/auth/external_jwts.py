"""JWTs that others issued: under a secret shared with an auth server, or under a key it publishes.

Which of the two a token is follows from its `alg` and `typ` before any key is looked up. Nothing in such a token gives
a role: whoever comes with one is a user.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from aiohttp import web

from todo_service.auth.jose import NOT_ACCEPTED
from todo_service.auth.jwks import ALGORITHMS, KeySet
from todo_service.auth.token_cache import Verified
from todo_service.auth.tokens import LEEWAY, TYPE, USER_ID, TokenError

SHARED_ALGORITHM = "HS256"
MAX_LIFETIME = 31 * 24 * 60 * 60  # seconds from now; a token that ends later is taken for a mistake
_EMAIL = re.compile(r"[^\s\0-\x1f\x7f\ud800-\udfff@]+@[^\s\0-\x1f\x7f\ud800-\udfff@]+")
_MAX_EMAIL = 254
_KID = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}", re.ASCII)
_TIMES = ("exp", "nbf", "iat")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a good token is about; `email` if it names a plausible one, `expires_at` in Unix seconds."""

    user_id: str
    email: str | None
    expires_at: int


def is_from_elsewhere(header: Mapping[str, str]) -> bool:
    """Whether a token with this header is not to be one of ours: ours are HMACs of a type of their own."""
    return header.get("alg") in ALGORITHMS or header.get("typ") != TYPE


class Issuers:
    """Checks tokens of the auth servers we trust: `shared_secret` and `key_set` may each be None, which turns that kind
    off. `issuer` and `audience` must be those of every token under a published key, and of others that name any.
    """

    def __init__(
        self, *, shared_secret: str | None, key_set: KeySet | None, issuer: str | None, audience: str | None
    ) -> None:
        self._shared_secret = shared_secret
        self._key_set = key_set
        self._wanted = {name: value for name, value in (("iss", issuer), ("aud", audience)) if value is not None}
        self._verified: Verified[Identity] = Verified()
        self._keys_withdrawn = 0

    async def verify(self, token: str, header: Mapping[str, str], claims: Mapping[str, Any]) -> Identity:
        """The identity of a token, given its parts as `jose.parts` reads them.

        Raises `TokenError`, or `IssuerUnavailable` if its key cannot be had now. One seen before costs no check, until
        it expires or the issuer withdraws a key.
        """
        return self.known(token) or self._verified.add(token, await self._checked(token, header, claims))

    def known(self, token: str) -> Identity | None:
        """The identity of a token that was seen before, unless the issuer has withdrawn a key since."""
        if self._key_set and self._key_set.withdrawn != self._keys_withdrawn:
            self._keys_withdrawn = self._key_set.withdrawn
            self._verified.clear()
        return self._verified.find(token)

    async def _checked(self, token: str, header: Mapping[str, str], claims: Mapping[str, Any]) -> Identity:
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
        """The one key this token may be signed with."""
        typ, kid = header.get("typ", "JWT"), header.get("kid")
        if algorithm == SHARED_ALGORITHM and typ == "JWT" and kid is None and self._shared_secret is not None:
            return self._shared_secret
        if algorithm in ALGORITHMS and typ in {"JWT", TYPE} and self._key_set is not None:
            if kid is None or not _KID.fullmatch(kid):
                raise TokenError(NOT_ACCEPTED)
            key = await self._key_set.find(kid, algorithm)
            if key is not None:
                return key
        raise TokenError(NOT_ACCEPTED)

    def _identity(self, claims: Mapping[str, Any], *, published: bool) -> Identity:
        if any(type(claims[name]) is not int for name in _TIMES if name in claims) or "exp" not in claims:
            raise TokenError(NOT_ACCEPTED)
        if claims["exp"] > time.time() + MAX_LIFETIME or claims["exp"] < 0:
            raise TokenError(NOT_ACCEPTED)
        for name, value in self._wanted.items():
            if claims.get(name) != value and (published or name in claims):
                raise TokenError(NOT_ACCEPTED)
        email = claims.get("email")
        plausible = isinstance(email, str) and len(email) <= _MAX_EMAIL and _EMAIL.fullmatch(email)
        return Identity(_subject(claims), email if plausible else None, claims["exp"])


def _subject(claims: Mapping[str, Any]) -> str:
    """Never by `email`, `id` or `userId`: links that verify an email address are signed with the same secret."""
    named = {claims[name] if isinstance(claims[name], str) else None for name in ("sub", "user_id") if name in claims}
    subject: str | None = named.pop() if len(named) == 1 else None
    if subject is None or not USER_ID.fullmatch(subject):
        raise TokenError(NOT_ACCEPTED)
    return subject


ISSUERS = web.AppKey("issuers", Issuers)
