"""The description as the service gives it, and what a test asks of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from todo_service.app import ROUTES
from todo_service.routes.system import MEASURED

ALL_ROUTES = (*ROUTES, *MEASURED)
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Operation:
    """One operation, with the path it is under."""

    path: str
    method: str
    about: Any

    @property
    def id(self) -> str:
        return str(self.about["operationId"])


class Described:
    """An OpenAPI document."""

    def __init__(self, whole: Any) -> None:
        self.whole = whole
        self.strict = {"components": strict(whole["components"])}

    def operations(self) -> Iterator[Operation]:
        for path, methods in self.whole["paths"].items():
            for method, about in methods.items():
                yield Operation(path, method.upper(), about)

    def operation(self, name: str) -> Operation:
        return next(found for found in self.operations() if found.id == name)

    def resolved(self, value: Any) -> Any:
        """What a reference refers to; anything else is itself."""
        if "$ref" not in value:
            return value
        found = self.whole
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return found

    def response(self, operation: Operation, status: int) -> Any:
        """The description of an answer; fails if there is none."""
        return self.resolved(operation.about["responses"][str(status)])

    def problems(self, schema: Any, value: Any, *, closed: bool = True) -> list[str]:
        """What of a value breaks a schema. `closed`: fields that it does not name do too."""
        components = self.strict if closed else {"components": self.whole["components"]}
        validator = Draft202012Validator(components | (strict(schema) if closed else schema), format_checker=FORMATS)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


FORMATS = FormatChecker(("uuid", "date-time"))


def strict(schema: Any) -> Any:
    """The same, where objects have no fields but those that are named."""
    if isinstance(schema, list):
        return [strict(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(inner) for name, inner in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed
