"""Secrets: their required strength, and the signing key that is derived from an auth server's secret."""

import base64
import re

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

SIGNING_SECRETS = ("secret_key", "secret_key_previous")
UNIQUE_SECRETS = ("better_auth_secret", *SIGNING_SECRETS, "session_hash_secret", "service_auth_token")
MIN_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 section 3.2
MIN_DISTINCT_BYTES = 10
MAX_PATTERN = 16  # characters of a pattern that is repeated
SAMPLES = frozenset(
    {
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's tutorial
        "0123456789abcdef0123456789abcdef",
        "abcdefghijklmnopqrstuvwxyz123456",
        "abcdefghijklmnopqrstuvwxyz0123456789",
    }
)
PLACEHOLDERS = (
    "change-me", "changeme", "change_me", "replace", "your-", "your_", "example", "placeholder", "dev-secret",
    "dev_secret", "supersecret", "super-secret", "super_secret",
)  # fmt: skip
EASY_TO_GUESS = "is easy to guess; `openssl rand -hex 64` makes a good one"
SIGNING = b"todo-service access token signing key"
FERNET_ADVICE = "a Fernet key: 32 random bytes in base64; `openssl rand -base64 32` makes one"
_FERNET_KEY = re.compile(r"[A-Za-z0-9+/_-]{43}=")


def plain_text(value: SecretStr | None) -> str | None:
    """Return the text of a secret that may be absent."""
    return value.get_secret_value() if value is not None else None


def check_strength(secret: str, min_bytes: int) -> None:
    """Raise `ValueError` for a secret that is short or easy to guess; the text never repeats it."""
    if len(secret.encode()) < min_bytes:
        raise ValueError(f"must be {min_bytes} bytes or longer; `openssl rand -hex {min_bytes}` makes a good one")
    guessable = any(word in secret.lower() for word in PLACEHOLDERS) or secret.lower() in SAMPLES
    if guessable or len(set(secret.encode())) < MIN_DISTINCT_BYTES or _is_repeated(secret):
        raise ValueError(EASY_TO_GUESS)


def _is_repeated(secret: str) -> bool:
    """Return whether a short pattern makes up the whole, such as `0123456789abcdef` three times."""
    return any(
        len(secret) > 2 * size and secret == (secret[:size] * len(secret))[: len(secret)]
        for size in range(1, MAX_PATTERN + 1)
    )


def parse_fernet_keys(text: str) -> list[str]:
    """Return the keys of a comma-separated list, at least one.

    Raises:
        ValueError: The list is empty, or an entry is not a Fernet key or easy to guess; the text names its place and
            never repeats it.
    """
    keys = split_keys(text)
    for place, key in enumerate(keys, 1):
        if not _FERNET_KEY.fullmatch(key) or len(set(base64.urlsafe_b64decode(key))) < MIN_DISTINCT_BYTES:
            raise ValueError(f"entry {place} is not {FERNET_ADVICE}")
    if not keys:
        raise ValueError(f"must be {FERNET_ADVICE}")
    return keys


def split_keys(text: str) -> list[str]:
    """Return the keys of a comma-separated list."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def derive_signing_key(secret: str, algorithm: str) -> str:
    """Derive a signing key for `algorithm` by HKDF (RFC 5869), in hexadecimal.

    The derived key does not reveal `secret`, and its signatures are no signatures under `secret`.
    """
    return HKDF(SHA256(), length=MIN_BYTES[algorithm], salt=None, info=SIGNING).derive(secret.encode()).hex()
