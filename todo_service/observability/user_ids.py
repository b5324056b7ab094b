"""Users' ids in the log: an auth server may take emails for ids, and those are written as a keyed digest."""

from hashlib import blake2b

from structlog.typing import EventDict

FIELDS = ("user_id", "actor_id", "subject_id")


class EmailHider:
    """A processor of structlog that replaces ids with an `@`.

    The same id has the same digest under the same `secret`, and cannot be guessed from it without.
    """

    def __init__(self, secret: str = "") -> None:
        self._key = blake2b(secret.encode(), digest_size=32, person=b"ids in the log").digest()

    def __call__(self, _: object, __: str, event: EventDict) -> EventDict:
        for field in FIELDS:
            value = event.get(field)
            if isinstance(value, str) and "@" in value:
                digest = blake2b(value.encode(errors="surrogatepass"), key=self._key, digest_size=8).hexdigest()
                event[field] = f"hidden-{digest}"
        return event
