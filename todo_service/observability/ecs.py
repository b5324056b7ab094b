"""Log lines under the names of the Elastic Common Schema."""

from collections.abc import Mapping

from structlog.typing import EventDict

from todo_service import __version__
from todo_service.observability.lines import as_json

# https://www.elastic.co/guide/en/ecs/8.11/ecs-field-reference.html; our other fields are under `todo_service`.
ECS_NAMES: Mapping[str, str] = {
    "timestamp": "@timestamp",
    "level": "log.level",
    "event": "message",
    "logger": "log.logger",
    "request_id": "http.request.id",
    "method": "http.request.method",
    "status": "http.response.status_code",
    "user_id": "user.id",
    "exception": "error.stack_trace",
    "trace_id": "trace.id",
    "span_id": "span.id",
}
ECS_SERVICE = {"ecs.version": "8.11.0", "service.name": "todo-service", "service.version": __version__}
NANOSECONDS = 1_000_000  # of a millisecond


def as_ecs(logger: object, name: str, event: EventDict) -> bytes:
    """Return one line under the names of the Elastic Common Schema."""
    line: EventDict = {ECS_NAMES[field]: event[field] for field in ("timestamp", "level", "event") if field in event}
    line.update(ECS_SERVICE, **{"event.action": event.get("event")})
    if "ms" in event:
        line["event.duration"] = round(event["ms"] * NANOSECONDS)
    for field, value in event.items():
        if value is not None and field != "ms":
            line[ECS_NAMES.get(field, f"todo_service.{field}")] = value
    return as_json(logger, name, line)
