"""Cursors of lists: the end of a page, bound to its list by a digest.

A cursor is validated as strictly as a body. It is neither secret nor signed: whatever it holds, a statement returns its
owner's tasks only.
"""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import AwareDatetime, Field, StringConstraints, TypeAdapter, ValidationError

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
_READERS = {name: TypeAdapter(tuple[str, key, UUID, _Text]) for name, key in _KEYS.items()}  # type: ignore[valid-type]


def write(position: Position, *, digest: str) -> str:
    """Return the cursor of a position; `digest` identifies the list."""
    document = orjson.dumps([digest, position.key, str(position.task_id), position.user_id])
    return base64.urlsafe_b64encode(document).rstrip(b"=").decode()


def read(cursor: str, *, sort: str, digest: str) -> Position | None:
    """Return the position in a cursor of this list; None for any other text."""
    if len(cursor) > MAX_LENGTH or not cursor.isascii():
        return None
    try:
        document = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        bound_to, *position = _READERS[sort.removeprefix("-")].validate_json(document, strict=True)
    except (binascii.Error, ValidationError):
        return None
    return Position(*position) if bound_to == digest else None
