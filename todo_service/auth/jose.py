"""The readable parts of a JWT, before anything is known of its signature: read to decide who has to check it."""

import base64
import re
from typing import Any

from todo_service.auth.tokens import MAX_LENGTH, TokenError
from todo_service.wire import strict_json

NOT_ACCEPTED = "The token is not one that is accepted here. Sign in again and send the new one."
KNOWN_MEMBERS = frozenset({"alg", "typ", "kid"})
_SHAPE = re.compile(r"[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{43,1400}", re.ASCII)


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims of a JWT, neither of them to be believed yet.

    Raises `TokenError` for what is no JWT of RFC 7519 in its one spelling: objects in UTF-8 without a name twice, no
    padding, and in the header nothing but `alg`, `typ` and `kid` (`jku`, `jwk`, `x5c`, `crit` and such are never used).
    """
    if len(token) > MAX_LENGTH or not _SHAPE.fullmatch(token):
        raise TokenError(NOT_ACCEPTED)
    header, claims = (_object(part) for part in token.split(".")[:2])
    if not header.keys() <= KNOWN_MEMBERS or not all(isinstance(value, str) for value in header.values()):
        raise TokenError(NOT_ACCEPTED)
    return header, claims


def _object(part: str) -> dict[str, Any]:
    try:
        value = strict_json.load(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        raise TokenError(NOT_ACCEPTED) from None
    if not isinstance(value, dict):
        raise TokenError(NOT_ACCEPTED)
    return value
