"""The record of the current request: the facts for its log line and its metrics, and the user who shares resources.

One context variable holds it, so that the log, the pool and the fair shares find it without the request.
"""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class RequestRecord:
    """One request.

    Attributes:
        user_id: The caller; None while the request is not authenticated.
        caller: The kind of the caller, a word for the log.
        source: The id of the caller's personal access token.
        owners: The users with rows that it may see; None for all.
        problem: The name of the error that answers it.
        database_seconds: Spent waiting for statements.
        statements: Their number.
        waited: Seconds spent waiting for a change of tasks, which are no part of the request's duration.
        notes: Events that are logged when the request ends, each with its fields.
    """

    request_id: str
    user_id: str | None = None
    caller: str | None = None
    source: str | None = None
    owners: frozenset[str] | None = frozenset()
    problem: str | None = None
    database_seconds: float = 0.0
    statements: int = 0
    waited: float = 0.0
    notes: list[tuple[str, dict[str, object]]] | None = None


def act_for(user_id: str) -> None:
    """Let the current request, if there is one, see the rows of this user."""
    if (record := RECORD.get()) is not None:
        record.owners = frozenset((user_id,))


RECORD: ContextVar[RequestRecord | None] = ContextVar("RECORD", default=None)
