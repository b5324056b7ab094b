"""The service about itself, as JSON."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from todo_service import __version__
from todo_service.errors import LastAdmin
from todo_service.wire.codec import Output
from todo_service.wire.problems import explanation

PROBLEM = explanation(LastAdmin)


def _health(status: str, database: str) -> ConfigDict:
    document: JsonValue = {
        "status": status,
        "service": "todo-backend",
        "version": __version__,
        "checks": {"database": database},
    }
    return ConfigDict(json_schema_extra={"examples": [document]})


class Root(Output):
    """The name, the version, and links to other addresses."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "Todo Service", "version": __version__, "links": {"docs": "/docs", "tasks": "/api/v1/tasks"}}
            ]
        }
    )

    name: str
    version: str
    links: dict[str, str]


class Checks(Output):
    """The dependencies that health checks."""

    database: Literal["up", "down"]


class Health(Output):
    """Whether the service and its database are well."""

    model_config = _health("healthy", "up")

    status: Literal["healthy", "unhealthy"]
    service: str
    version: str
    checks: Checks


class Unhealthy(Health):
    """The database is not well."""

    model_config = _health("unhealthy", "down")


class Alive(Output):
    """The process can answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive"}]})

    status: Literal["alive"]


class Ready(Output):
    """Requests may be sent here."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ready"}]})

    status: Literal["ready"]


class NotReady(Output):
    """Requests are better sent elsewhere."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "not ready", "reason": "draining"}]})

    status: Literal["not ready"]
    reason: str = Field(description="The reason and the next step.")


class Explanation(Output):
    """The meaning of a problem type, its occasion and its remedy."""

    model_config = ConfigDict(json_schema_extra={"examples": [PROBLEM]})

    type: str
    title: str
    status: int
    meaning: str
    when: str
    what_to_do: str


class Explanations(Output):
    """All problem types."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"problems": [PROBLEM]}]})

    problems: list[Explanation]


class OpenApi(Output):
    """An OpenAPI document."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"openapi": "3.1.0", "info": {"title": "Todo Service", "version": __version__}, "paths": {}}]
        },
    )

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
