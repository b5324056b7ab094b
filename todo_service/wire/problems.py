"""Errors as JSON: problem documents of RFC 9457, with the same keys for every error of every route."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue, create_model
from pydantic.config import JsonDict

from todo_service.errors import (
    ApiError,
    InsufficientScope,
    NotFound,
    PreconditionFailed,
    QuotaExceeded,
    TaskIdTaken,
    Unauthenticated,
    UndoConflict,
    ValidationFailed,
    kinds,
)
from todo_service.wire.codec import Output, dump

CONTENT_TYPE = "application/problem+json"


def _without_default(schema: JsonDict) -> None:
    del schema["default"]


OF_OPERATIONS = (InsufficientScope, NotFound, PreconditionFailed, QuotaExceeded, TaskIdTaken, Unauthenticated)
INDEX = Field(
    0,
    ge=0,
    description="In a batch: which operation has failed, counted from 0.",
    json_schema_extra=_without_default,
)


class FieldProblem(Output):
    """One failing field."""

    field: str = Field(description="Its name; `body` or `query` for the whole.")
    message: str = Field(description="A sentence for a person.")
    code: str = Field(description="A word for a program.")


def _model(kind: type[ApiError]) -> type[Output]:
    statuses = Literal[400, 422] if kind is ValidationFailed else Literal[kind.status]
    members: dict[str, Any] = {
        "type": Literal[f"/problems/{kind.name}"],
        "title": Literal[kind.title],
        "status": statuses,
        "detail": (str, Field(description="The fault of this request and the next step.")),
        "request_id": str,
    }
    if kind in OF_OPERATIONS:
        members["index"] = (int, INDEX)
    about = f"{kind.meaning} {kind.remedy}"
    example: dict[str, Any] = {
        "type": f"/problems/{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": about,
        "request_id": "9a6c5d1be2f04c11",
    }
    if kind is ValidationFailed:
        members["errors"] = (list[FieldProblem], Field(description="All failing fields."))
        wrong = {"field": "title", "message": "must not be empty", "code": "string_too_short"}
        example |= {"detail": "title: must not be empty", "errors": [wrong]}
    if kind is UndoConflict:
        members["tasks"] = (list[str], Field(description="The ids of the tasks."))
        example["tasks"] = ["01a1fe40-1817-7619-88f5-225fab816885"]
    configured = create_model("Configured", __base__=Output)
    configured.model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [example]})
    return create_model(f"{kind.__name__}Problem", __base__=configured, __doc__=about, **members)


MODELS = {kind: _model(kind) for kind in kinds()}  # the models of the problem documents


def document(error: ApiError, *, request_id: str) -> bytes:
    """Return the problem document of an error."""
    members = {
        "type": f"/problems/{error.name}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "request_id": request_id,
    }
    if error.index is not None:
        members["index"] = error.index
    if error.errors:
        members["errors"] = error.errors
    if error.tasks:
        members["tasks"] = error.tasks
    return dump(members)


def explanation(kind: type[ApiError]) -> dict[str, JsonValue]:
    """Return the document of `/problems/{name}` about one problem type."""
    return {
        "type": f"/problems/{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "meaning": kind.meaning,
        "when": kind.when,
        "what_to_do": kind.remedy,
    }
