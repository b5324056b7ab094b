"""Refusals as JSON: problem documents of RFC 9457, the same keys for every error of every route."""

from todo_service.errors import ApiError
from todo_service.wire.codec import dump

CONTENT_TYPE = "application/problem+json"


def document(error: ApiError, *, request_id: str) -> bytes:
    """The problem document of one refusal."""
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
    return dump(members)


def explanation(kind: type[ApiError]) -> dict[str, object]:
    """What `/problems/{name}` says of one problem type."""
    return {
        "type": f"/problems/{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "meaning": kind.meaning,
        "when": kind.when,
        "what_to_do": kind.remedy,
    }
