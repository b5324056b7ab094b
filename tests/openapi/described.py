"""The description of the API as tests ask it: which operation a request is, and whether an answer is as described."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from jsonschema_rs import Draft202012Validator

from todo_service.config.settings import Settings
from todo_service.openapi.document import document
from todo_service.routes.all_routes import ROUTES
from todo_service.routes.system import METRICS_ROUTES
from todo_service.routes.table import PATTERNS

ALL_ROUTES = (*ROUTES, *METRICS_ROUTES)
SECRET_KEY = "for-tests-only-0123456789-abcdefghijk"
# Headers that a description has to name where they are.
TELLING = {
    "etag", "location", "link", "x-total-count", "idempotency-replayed", "content-disposition", "www-authenticate",
    "retry-after", "x-request-id", "ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining",
    "x-ratelimit-reset",
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """One operation, with the path it is under."""

    path: str
    method: str
    about: Any

    @property
    def id(self) -> str:
        return str(self.about["operationId"])

    @cached_property
    def address(self) -> re.Pattern[str]:
        """The paths that it answers."""
        path = self.path
        for plain, pattern in PATTERNS.items():
            path = path.replace(plain, pattern)
        plain = re.sub(r"{\w+(?::((?:[^{}]|{[^}]*})*))?}", lambda found: found[1] or "[^/]+", path)
        return re.compile(plain.rstrip("/") + "/?")


class Described:
    """An OpenAPI document."""

    def __init__(self, whole: Any) -> None:
        self.whole = whole
        self._closed = strict(whole["components"])
        self._validators: dict[str, Draft202012Validator] = {}

    @cached_property
    def operations(self) -> list[Operation]:
        return [
            Operation(path, method.upper(), about)
            for path, methods in self.whole["paths"].items()
            for method, about in methods.items()
        ]

    def operation(self, name: str) -> Operation:
        return next(found for found in self.operations if found.id == name)

    def of_request(self, method: str, path: str) -> Operation | None:
        """The operation that a request is; HEAD is a GET."""
        bare = path.partition("?")[0]
        wanted = "GET" if method == "HEAD" else method
        return next((op for op in self.operations if op.method == wanted and op.address.fullmatch(bare)), None)

    def resolved(self, value: Any) -> Any:
        """What a reference refers to; anything else is itself."""
        if "$ref" not in value:
            return value
        found = self.whole
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return found

    def response(self, operation: Operation, status: int) -> Any:
        """The description of an answer; None if there is none."""
        described = operation.about["responses"].get(str(status))
        return described and self.resolved(described)

    def faults(self, schema: Any, value: Any) -> list[str]:
        """What of a value breaks a schema, fields that the schema does not name among it."""
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            whole = {"components": self._closed, **strict(schema)}
            self._validators[key] = Draft202012Validator(whole, validate_formats=True)
        return [f"{error.instance_path}: {error.message[:200]}" for error in self._validators[key].iter_errors(value)]

    def objections(self, method: str, path: str, status: int, headers: Mapping[str, str], raw: bytes) -> list[str]:
        """How an answer is not as described; nothing, if the request is no operation at all."""
        operation = self.of_request(method, path)
        if operation is None:
            return []
        described = self.response(operation, status)
        if described is None:
            return [f"{operation.id} is not described to answer {status}"]
        return [
            f"{operation.id} {status}: {objection}"
            for objection in (*self._of_headers(described, headers), *self._of_body(described, method, headers, raw))
        ]

    def _of_headers(self, described: Any, headers: Mapping[str, str]) -> Iterator[str]:
        named = {name.lower(): self.resolved(header) for name, header in described["headers"].items()}
        yield from (f"{name} is not described" for name in TELLING if name in headers and name not in named)
        for name, header in named.items():
            if name not in headers:
                if header.get("required"):
                    yield f"{name} is missing"
                continue
            value = int(headers[name]) if header["schema"].get("type") == "integer" else headers[name]
            yield from (f"{name} {fault}" for fault in self.faults(header["schema"], value))

    def _of_body(self, described: Any, method: str, headers: Mapping[str, str], raw: bytes) -> Iterator[str]:
        content = described.get("content", {})
        if not content or method == "HEAD":
            if raw:
                yield "has a body"
            return
        media = headers.get("Content-Type", "").partition(";")[0]
        if media not in content:
            yield f"is {media}, not one of {[*content]}"
        elif media.endswith("json"):
            yield from self.faults(content[media]["schema"], json.loads(raw))


@cache
def described() -> Described:
    """The description of a service with the settings of most tests."""
    settings = Settings.model_validate({"database_url": "postgresql://nobody@127.0.0.1/x", "secret_key": SECRET_KEY})
    return Described(document(ALL_ROUTES, settings))


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
