"""Cursors of lists: the end of a page, bound to its list by a digest.

A cursor is validated as strictly as a body. It is neither secret nor signed: whatever it holds, a statement returns its
owner's tasks only.
"""

import base64
import binascii
import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import AwareDatetime, Field, StringConstraints, TypeAdapter, ValidationError

from todo_service.queries import user_lists
from todo_service.queries.task_lists import PRIORITIES, Position
from todo_service.wire.text import STORABLE

MAX_LENGTH = 4096  # characters; a title of 255 characters takes 1,500
_Moment = Annotated[AwareDatetime, Field(ge=datetime(1900, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC))]
_Text = Annotated[str, StringConstraints(max_length=255), STORABLE]
_KEYS: dict[str, Any] = {
    "created_at": _Moment,
    "updated_at": _Moment,
    "due_date": _Moment | None,
    "priority": Annotated[int, Field(ge=1, le=len(PRIORITIES))],
    "title": _Text,
}
_USER_READER = TypeAdapter(tuple[str, _Moment, _Text])
_READERS = {name: TypeAdapter(tuple[str, key, UUID, _Text]) for name, key in _KEYS.items()}  # type: ignore[valid-type]


def digest(*parts: object) -> str:
    """Return the digest that binds a cursor or a tag to its list; the parts are its owner, order and filters."""
    return hashlib.blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=8).hexdigest()


def write(position: Position, *, digest: str) -> str:
    """Return the cursor of a position; `digest` identifies the list."""
    return _encode(digest, position.key, str(position.task_id), position.user_id)


def read(cursor: str, *, sort: str, digest: str) -> Position | None:
    """Return the position in a cursor of this list; None for any other text."""
    position = _decode(cursor, _READERS[sort.removeprefix("-")], digest)
    return Position(*position) if position else None


def write_user(position: user_lists.Position, *, digest: str) -> str:
    """Return the cursor of a position in a list of users."""
    return _encode(digest, *position)


def read_user(cursor: str, *, digest: str) -> user_lists.Position | None:
    """Return the position in a cursor of this list of users; None for any other text."""
    position = _decode(cursor, _USER_READER, digest)
    return user_lists.Position(*position) if position else None


def _encode(*parts: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(parts)).rstrip(b"=").decode()


def _decode(cursor: str, reader: TypeAdapter[Any], digest: str) -> list[Any] | None:
    if len(cursor) > MAX_LENGTH or not cursor.isascii():
        return None
    try:
        document = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        bound_to, *position = reader.validate_json(document, strict=True)
    except (binascii.Error, ValidationError):
        return None
    return position if bound_to == digest else None
