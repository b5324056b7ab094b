"""The readable parts of a JWT, before its signature is verified: they decide which verifier it needs."""

import base64
import re
from typing import Any

from todo_service.auth.tokens import MAX_LENGTH, TokenError
from todo_service.wire import strict_json

NOT_ACCEPTED = "The token is not one that is accepted here. Sign in again and send the new one."
READ_MEMBERS = frozenset({"alg", "typ", "kid"})
# Members that change what a signature means, or name a key: a token with one is not for us. Others are harmless.
REFUSED_MEMBERS = frozenset({"b64", "crit", "enc", "jku", "jwk", "x5c", "x5u", "zip"})
_SHAPE = re.compile(r"[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{43,1400}", re.ASCII)


def split_jwt(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of a JWT; neither is trustworthy yet.

    Raises:
        TokenError: It is not a JWT of RFC 7519 in its one spelling: objects in UTF-8 without a repeated name, no
            padding, and no header member of `REFUSED_MEMBERS`.
    """
    if len(token) > MAX_LENGTH or not _SHAPE.fullmatch(token):
        raise TokenError(NOT_ACCEPTED)
    header, claims = (_object(part) for part in token.split(".")[:2])
    read = {name: value for name, value in header.items() if name in READ_MEMBERS}
    if header.keys() & REFUSED_MEMBERS or not all(isinstance(value, str) for value in read.values()):
        raise TokenError(NOT_ACCEPTED)
    return read, claims


def _object(part: str) -> dict[str, Any]:
    try:
        value = strict_json.load(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        raise TokenError(NOT_ACCEPTED) from None
    if not isinstance(value, dict):
        raise TokenError(NOT_ACCEPTED)
    return value
