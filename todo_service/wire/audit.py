"""The audit log as JSON, and the query of its list."""

from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints

from todo_service.queries.audit_log import AuditRow, Filter
from todo_service.wire.codec import Input, Output
from todo_service.wire.task_lists import Moment
from todo_service.wire.text import MAX_WHOLE_NUMBER, STORABLE, WITHOUT_NUL, Written, format_moment, whole_number

Id = Annotated[str, StringConstraints(min_length=1, max_length=255), STORABLE, Field(json_schema_extra=WITHOUT_NUL)]
EXAMPLE: dict[str, JsonValue] = {
    "id": 4711,
    "at": "2026-11-21T13:16:15.767459Z",
    "action": "user_updated",
    "actor_id": "01a1fe40-1817-7619-88f5-225fab816885",
    "subject_id": "01a1fe40-2c31-7d02-9a54-6d1f3c1a7b20",
    "request_id": "3f1c6a0b9d2e4c58",
    "detail": "role user -> admin",
    "address": "192.0.2.7",
    "sequence": 4698,
}


class AuditLogEntry(Output):
    """One act."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: int
    at: Written
    action: str = Field(description="A word such as `signed_in`, `sign_in_failed` or `user_updated`.")
    actor_id: str = Field(description="A user's id, `service`, `anonymous`, or the name of a command.")
    subject_id: str = Field(description="The user it was done to; `*` for all users, `-` for an unknown email.")
    request_id: str
    detail: str
    address: str | None = Field(description="The client's address; an IPv6 address as its network.")
    sequence: int | None = Field(description="Its place in the chain of seals; null while it has none.")


class AuditLogPage(Output):
    """A page of the audit log."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"entries": [EXAMPLE], "next_cursor": None}]})

    entries: list[AuditLogEntry]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null if there is none.")


class AuditQuery(Input):
    """The filters of a list of entries."""

    actor_id: Id | None = Field(None, description="Only acts of this actor.")
    subject_id: Id | None = Field(None, description="Only acts on this user.")
    action: Id | None = Field(None, description="Only acts of this kind.")
    since: Moment | None = Field(None, description="Only acts at this moment or later.")
    until: Moment | None = Field(None, description="Only acts before this moment.")
    limit: Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole_number)] = Field(
        100, description="How many at most."
    )
    cursor: Annotated[int, Field(ge=1, le=MAX_WHOLE_NUMBER), BeforeValidator(whole_number)] | None = Field(
        None, description="The `next_cursor` of the page before."
    )

    def filter(self) -> Filter:
        return Filter(self.actor_id, self.subject_id, self.action, self.since, self.until)


def entry(row: AuditRow) -> dict[str, object]:
    """Return an entry as JSON."""
    return {
        "id": row.id,
        "at": format_moment(row.at),
        "action": row.action,
        "actor_id": row.actor_id,
        "subject_id": row.subject_id,
        "request_id": row.request_id,
        "detail": row.detail,
        "address": row.address,
        "sequence": row.sequence,
    }
