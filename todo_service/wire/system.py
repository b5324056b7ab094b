"""What the service says of itself, as JSON."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from todo_service.wire.codec import Output


class Root(Output):
    """What this is, and where to go on."""

    name: str
    version: str
    links: dict[str, str]


class Checks(Output):
    """What health depends on."""

    database: Literal["up", "down"]


class Health(Output):
    """Whether the service and its database are well."""

    status: Literal["healthy", "unhealthy"]
    service: str
    version: str
    checks: Checks


class Alive(Output):
    """The process can answer."""

    status: Literal["alive"]


class Ready(Output):
    """Requests may be sent here."""

    status: Literal["ready"]


class NotReady(Output):
    """Requests are better sent elsewhere."""

    status: Literal["not ready"]
    reason: str = Field(description="Why, and what to do.")


class Explanation(Output):
    """What a problem type means, when it happens and what to do."""

    type: str
    title: str
    status: int
    meaning: str
    when: str
    what_to_do: str


class Explanations(Output):
    """All problem types."""

    problems: list[Explanation]


class OpenApi(Output):
    """An OpenAPI document."""

    model_config = ConfigDict(frozen=True, extra="allow")

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
