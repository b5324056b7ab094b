"""Secrets: which are too weak to use, and how a key of ours is derived from somebody else's secret."""

import base64
import re

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIN_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 section 3.2
MIN_DISTINCT_BYTES = 10
PLACEHOLDERS = ("change-me", "changeme", "change_me", "replace", "your-", "your_", "example", "placeholder")
SIGNING = b"todo-service access token signing key"
FERNET_ADVICE = "a Fernet key: 32 random bytes in base64; `openssl rand -base64 32` makes one"
_FERNET_KEY = re.compile(r"[A-Za-z0-9+/_-]{43}=")


def refuse_weak(secret: str, min_bytes: int) -> None:
    """Raise `ValueError` for a secret that is short or easy to guess; the text never repeats it."""
    if len(secret.encode()) < min_bytes:
        raise ValueError(f"must be {min_bytes} bytes or longer; `openssl rand -hex {min_bytes}` makes a good one")
    guessable = any(word in secret.lower() for word in PLACEHOLDERS)
    if guessable or len(set(secret.encode())) < MIN_DISTINCT_BYTES:
        raise ValueError("is easy to guess; `openssl rand -hex 64` makes a good one")


def fernet_keys(text: str) -> list[str]:
    """The keys in a list separated by commas. Raises `ValueError` if there is none, or for one that is no Fernet key or
    is easy to guess; the text names its place and never repeats it.
    """
    found = [entry.strip() for entry in text.split(",") if entry.strip()]
    for place, key in enumerate(found, 1):
        if not _FERNET_KEY.fullmatch(key) or len(set(base64.urlsafe_b64decode(key))) < MIN_DISTINCT_BYTES:
            raise ValueError(f"entry {place} is not {FERNET_ADVICE}")
    if not found:
        raise ValueError(f"must be {FERNET_ADVICE}")
    return found


def derived(secret: str, algorithm: str) -> str:
    """A signing key for `algorithm` in hexadecimal, by HKDF (RFC 5869): who has it cannot compute `secret`, and what it
    signs is no signature under `secret`.
    """
    return HKDF(SHA256(), length=MIN_BYTES[algorithm], salt=None, info=SIGNING).derive(secret.encode()).hex()
