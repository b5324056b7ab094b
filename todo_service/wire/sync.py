"""Delta sync as JSON: the cursor of a client, and the document of a page of changes."""

import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Annotated, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from todo_service.errors import invalid
from todo_service.queries.changes import Change, ChangePage
from todo_service.wire import codec, task_examples, tasks
from todo_service.wire.codec import Input, Output
from todo_service.wire.task_lists import MAX_PAGE
from todo_service.wire.tasks import Task
from todo_service.wire.text import whole_number

PAGE_SIZE = 500
MAX_WAIT = 30  # seconds
NOTHING_YET = -1  # in the place of an epoch
_FORM = struct.Struct(">2s4sqqq")
_KIND = b"s1"
_TEXT = re.compile(r"[A-Za-z0-9_-]{40}", re.ASCII)


class Cursor(NamedTuple):
    """The position of a client in one owner's changes.

    The client has all changes up to version `position` of the history `epoch`. `base` is the version at which its first
    page was read: it has never received a deletion up to there. A client without a history (`NOTHING_YET`) holds
    nothing and gets everything, like one without a cursor.
    """

    owner: bytes
    epoch: int
    position: int
    base: int

    @classmethod
    def start(cls, owner_id: str) -> Self:
        """Return the cursor of a client that has nothing."""
        return cls(_digest(owner_id), NOTHING_YET, 0, 0)

    @property
    def deletions_since(self) -> int | None:
        """The version up to which the client needs no deletion; None if it needs no deletions at all."""
        return None if self.epoch == NOTHING_YET else self.heard_up_to

    @property
    def heard_up_to(self) -> int:
        return max(self.position, self.base)

    def is_expired(self, page: ChangePage | None) -> bool:
        """Return whether the client must start over: its history is another one, or deletions it needs are purged."""
        if self.epoch == NOTHING_YET:
            return False
        return page is None or self.epoch != page.epoch or not page.sync_floor <= self.heard_up_to <= page.version

    def after(self, page: ChangePage | None) -> Self:
        """Return the cursor of the client after this page."""
        if page is None:
            return self
        position = page.changes[-1].version if page.has_more else page.version
        base = page.version if self.epoch == NOTHING_YET else self.base
        return self._replace(epoch=page.epoch, position=position, base=base)

    def __str__(self) -> str:
        return urlsafe_b64encode(_FORM.pack(_KIND, *self)).decode()


def _digest(owner_id: str) -> bytes:
    return blake2b(owner_id.encode(), digest_size=4).digest()


def _cursor(value: object) -> Cursor | None:
    """Parse a cursor; None for an empty one."""
    if value == "":
        return None
    if isinstance(value, str) and _TEXT.fullmatch(value):
        kind, *parts = _FORM.unpack(urlsafe_b64decode(value))
        cursor = Cursor(*parts)
        if kind == _KIND and (min(cursor[1:]) >= 0 or cursor[1:] == (NOTHING_YET, 0, 0)):
            return cursor
    raise PydanticCustomError("cursor", "must be a `cursor` that a sync answered, as it was")


def _own(cursor: Cursor | None, owner_id: str) -> Cursor:
    start = Cursor.start(owner_id)
    if cursor is not None and cursor.owner != start.owner:
        raise invalid("cursor", "must be a cursor of your own, not another user's", "cursor")
    return cursor or start


def parse_cursor(text: str, owner_id: str) -> Cursor | None:
    """Return a cursor of this user; None if it is none, or another user's."""
    try:
        cursor = _cursor(text)
    except PydanticCustomError:
        return None
    return cursor if cursor is not None and cursor.owner == Cursor.start(owner_id).owner else None


class SyncQuery(Input):
    """The changes to return: those after `cursor` (without one: everything), at most `limit`."""

    cursor: Annotated[Cursor | None, PlainValidator(_cursor), WithJsonSchema({"type": "string"})] = Field(
        None, description="The `cursor` of the answer before; without one, or with an empty one: everything."
    )
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE), BeforeValidator(whole_number)] = Field(
        PAGE_SIZE, description="How many changes at most."
    )

    wait: Annotated[int, Field(ge=0, le=MAX_WAIT), BeforeValidator(whole_number)] = Field(
        0, description="How many seconds an answer without changes may wait for one."
    )

    def start(self, owner_id: str) -> Cursor:
        """Return the cursor to continue from. Raises `ValidationFailed` for another user's cursor."""
        return _own(self.cursor, owner_id)


class EventsQuery(Input):
    """Where a stream of events begins."""

    cursor: Annotated[Cursor | None, PlainValidator(_cursor), WithJsonSchema({"type": "string"})] = Field(
        None, description="The id of the last event, or the `cursor` of a sync; without one: everything."
    )
    ticket: str = Field("", description="In the place of a header with a token, as `events/ticket` answered it.")

    def start(self, owner_id: str) -> Cursor:
        """Return the cursor to continue from. Raises `ValidationFailed` for another user's cursor."""
        return _own(self.cursor, owner_id)


class Ticket(Output):
    """A ticket for a stream."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ticket": "gAAAAABnP2sF7Q", "expires_in": 60}]})

    ticket: str
    expires_in: int = Field(description="Seconds.")


class TaskChanged(Output):
    """A task was created or changed, and is like this now."""

    id: UUID
    deleted: Literal[False]
    task: Task


class TaskDeleted(Output):
    """A task was deleted."""

    id: UUID
    deleted: Literal[True]


class SyncPage(Output):
    """The changes, in their order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "changes": [
                        {"id": task_examples.EXAMPLE["id"], "deleted": False, "task": task_examples.EXAMPLE},
                        {"id": "0b9b8e1e-5a0b-4d6e-9d53-1c0f6a2f4f10", "deleted": True},
                    ],
                    "cursor": "czHQwv7WAAAAAAAAAAEAAAAAAAAAAgAAAAAAAAAC",
                    "has_more": False,
                }
            ]
        }
    )

    changes: list[TaskChanged | TaskDeleted]
    cursor: str = Field(description="Where to go on from. Store it together with the tasks.")
    has_more: bool = Field(description="Whether there is more to be had at once.")


async def document(page: ChangePage | None, cursor: Cursor) -> dict[str, object]:
    """Return a page of changes, and the cursor after it."""
    return {
        "changes": await codec.array(page.changes if page else [], _change),
        "cursor": str(cursor),
        "has_more": page is not None and page.has_more,
    }


def _change(change: Change) -> dict[str, object]:
    if change.task is None:
        return {"id": str(change.id), "deleted": True}
    return {"id": str(change.id), "deleted": False, "task": tasks.document(change.task, "snake")}
