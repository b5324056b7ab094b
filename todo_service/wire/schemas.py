"""Wire models as JSON Schema (2020-12), for the OpenAPI document."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from pydantic import GetJsonSchemaHandler, TypeAdapter
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from todo_service.config.settings import Settings

Schema = dict[str, Any]
Mode = Literal["validation", "serialization"]

REF = "#/components/schemas/"
SETTING = "x-setting"  # {SETTING: name} stands for the value of a setting


class DescribedAs:
    """Describe a field as another type, where its own type does not show the validation."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(TypeAdapter(self.kind).core_schema)


class _Generator(GenerateJsonSchema):
    """Keeps the order of the fields, without titles that repeat their names, and without a default where None means
    absent.
    """

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if described.get("default", ...) is None:
            del described["default"]
        return described


class Schemas:
    """The schemas of models, each by its name in `components`; values of settings come from `settings`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.components: dict[str, Schema] = {}
        self._finished: dict[tuple[Any, Mode, str], Schema] = {}

    def incoming(self, kind: Any, *, prefix: str = "") -> Schema:
        """Return the schema of a body; with a `prefix` for the names of its schemas, in camelCase."""
        return self._once(kind, "validation", prefix)

    def outgoing(self, kind: Any, *, prefix: str = "") -> Schema:
        """Return the schema of an answer."""
        return self._once(kind, "serialization", prefix)

    def parameters(self, kind: Any) -> dict[str, Schema]:
        """Return the fields of a query, each with its description and default."""
        schema, definitions = _generated(kind, "validation")
        properties: Schema = definitions[schema["$ref"].removeprefix(REF)]["properties"]
        for name, inner in definitions.items():
            if f"'{REF}{name}'" in repr(properties):
                self._keep(name, inner, {})
        return {name: dict(inner) for name, inner in properties.items()}

    def _once(self, kind: Any, mode: Mode, prefix: str) -> Schema:
        """Return the schema of a type; the same refusals are described for every route."""
        key = kind, mode, prefix
        if key not in self._finished:
            self._finished[key] = self._schema(kind, mode, prefix)
        return dict(self._finished[key])

    def _schema(self, kind: Any, mode: Mode, prefix: str) -> Schema:
        schema, definitions = _generated(kind, mode)
        if mode == "validation":
            definitions = {name: _optional(inner) for name, inner in definitions.items()}
        changed = _changed(definitions) if prefix else set[str]()
        renamed = {REF + name: f"{REF}{prefix}{name}" for name in changed}
        for name, inner in definitions.items():
            own = prefix + name if name in changed else name
            self._keep(own, _camel(inner) if name in changed else inner, renamed)
        return dict(self._resolved(schema, renamed))

    def _keep(self, name: str, schema: Schema, renamed: Mapping[str, str]) -> None:
        schema = self._resolved(schema, renamed)
        assert self.components.setdefault(name, schema) == schema, f"two schemas are called {name}"

    def _resolved(self, value: Any, renamed: Mapping[str, str]) -> Any:
        """Return the schema with the final names of its references, and the values of settings."""
        if isinstance(value, list):
            return [self._resolved(inner, renamed) for inner in value]
        if not isinstance(value, dict):
            return renamed.get(value, value) if isinstance(value, str) else value
        if value.keys() == {SETTING}:
            return getattr(self._settings, value[SETTING])
        return {name: self._resolved(inner, renamed) for name, inner in value.items()}


@cache
def _generated(kind: Any, mode: Mode) -> tuple[Schema, Mapping[str, Schema]]:
    """Return the schema of a type, and those it refers to by their names."""
    schemas, document = TypeAdapter.json_schemas(
        [("it", mode, TypeAdapter(kind))], ref_template=REF + "{model}", schema_generator=_Generator
    )
    definitions: dict[str, Schema] = document.get("$defs", {})
    for schema in definitions.values():
        schema.pop("title", None)
    return schemas["it", mode], definitions


def _optional(schema: Schema) -> Schema:
    """Return a body's schema without defaults: generators of clients take a field with a default for a required one."""
    fields = schema.get("properties", {})
    without = {name: {key: inner[key] for key in inner if key != "default"} for name, inner in fields.items()}
    return schema | {"properties": without} if fields else schema


def _camel(schema: Schema) -> Schema:
    """Return an object's schema with its names in camelCase."""
    properties = {to_camel(name): inner for name, inner in schema.get("properties", {}).items()}
    examples = [{to_camel(name): inner for name, inner in example.items()} for example in schema.get("examples", [])]
    changes = {"properties": properties, "required": [*map(to_camel, schema.get("required", []))], "examples": examples}
    return schema | {name: value for name, value in changes.items() if name in schema}


def _changed(definitions: Mapping[str, Schema]) -> set[str]:
    """Return the schemas that differ in camelCase, by their own names or by those of schemas they refer to."""
    changed = {name for name, schema in definitions.items() if _camel(schema) != schema}
    while more := {
        name
        for name, schema in definitions.items()
        if name not in changed and any(f"'{REF}{other}'" in repr(schema) for other in changed)
    }:
        changed |= more
    return changed
