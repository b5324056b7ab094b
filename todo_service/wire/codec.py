"""Bytes to validated models and back: strict JSON in (RFC 8259 in UTF-8, no repeated keys, no NaN), orjson out."""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar

import orjson
from multidict import MultiMapping
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails

from todo_service.config.settings import Settings
from todo_service.errors import FieldError, MalformedBody, ValidationFailed, invalid
from todo_service.wire import strict_json
from todo_service.wire.strict_json import NotANumberError, RepeatedNameError

Naming = Literal["snake", "camel"]
Model = TypeVar("Model", bound="Input")
Row = TypeVar("Row")

SLICE = 500  # tasks, about 5 ms

MAX_VALUES = 20_000
MAX_QUOTES = 4 * MAX_VALUES + 2  # two around each value and its name

MESSAGES = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_unicode": "must not contain a lone surrogate",
    "bool_type": "must be true or false",
    "list_type": "must be an array",
    "string_too_short": "must not be empty",
}


class Input(BaseModel):
    """A body or query: strict types, unknown fields ignored, names in snake_case or camelCase."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)
    repeatable: ClassVar[frozenset[str]] = frozenset()  # fields that a query may have several times
    absent_if_empty: ClassVar[frozenset[str]] = frozenset()  # parameters that HTML forms send with nothing behind them
    nullable: ClassVar[frozenset[str]] = frozenset()  # fields that may be null; elsewhere None means absent

    @classmethod
    @cache
    def fields_by_name(cls) -> dict[str, str]:
        """Return the field of each name, in either spelling."""
        return {name: field for field, camel in cls.spellings() for name in (field, camel)}

    @classmethod
    @cache
    def spellings(cls) -> tuple[tuple[str, str], ...]:
        """Return each field's name in snake_case and in camelCase."""
        return tuple((field, to_camel(field)) for field in cls.model_fields)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe null only where it is allowed."""
        schema = handler(core_schema)
        properties: dict[str, Any] = handler.resolve_ref_schema(schema).get("properties", {})
        for name, schema_of_field in properties.items():
            if name not in cls.nullable and "anyOf" in schema_of_field:
                kinds = [kind for kind in schema_of_field.pop("anyOf") if kind != {"type": "null"}]
                one = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
                properties[name] = one | schema_of_field
        return schema


class Output(BaseModel):
    """The description of an answer.

    Answers are written by hand, which is fast; a test compares them with their models.
    """

    model_config = ConfigDict(frozen=True)


def dump(value: object) -> bytes:
    """Return JSON bytes; moments and ids are formatted where rows become documents, not here."""
    return orjson.dumps(value)


async def array(rows: Sequence[Row], write: Callable[[Row], object]) -> orjson.Fragment:
    """Return rows as a JSON array, made in slices so that other requests are not held up by ten thousand rows at once.

    Copying fifty megabytes takes 40 ms, so the slices are joined once, in a turn of the event loop of its own.
    """
    parts = [b"["]
    for start in range(0, len(rows), SLICE):
        if start:
            parts.append(b",")
        parts.append(orjson.dumps([write(row) for row in rows[start : start + SLICE]])[1:-1])
        await asyncio.sleep(0)
    parts.append(b"]")
    whole = b"".join(parts)
    del parts
    if len(rows) > SLICE:
        await asyncio.sleep(0)
    return orjson.Fragment(whole)


def load(raw: bytes) -> object:
    """Parse the one JSON document in `raw`. Raises `MalformedBody`."""
    try:
        return strict_json.load(raw)
    except (ValueError, RecursionError) as error:
        raise malformed(error) from None


def malformed(error: ValueError | RecursionError) -> MalformedBody:
    """Return the refusal for an error of `strict_json`."""
    match error:
        case RepeatedNameError():
            return MalformedBody("The body names the same key twice in one object. Send each key once.")
        case NotANumberError():
            return MalformedBody(f"The body holds {error}, which is not JSON. Send a number or null.")
        case UnicodeDecodeError():
            return MalformedBody("The body is not UTF-8. Send the text in that encoding.")
        case RecursionError():
            return MalformedBody("The body is nested too deeply. Send it flatter.")
        case json.JSONDecodeError():
            return MalformedBody(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.")
        case _:
            return MalformedBody("The body holds a number that is too long to read.")


def load_large(raw: bytes) -> object:
    """Parse a large body of at most 20,000 values.

    Python parses half a million values in one go, which blocks every thread for a third of a second.

    Raises:
        MalformedBody: It is not well-formed.
        ValidationFailed: It has more values.
    """
    if _is_crowded(raw):
        raise invalid("body", f"must hold at most {MAX_VALUES:,} values, arrays and objects counting twice", "too_many")
    return load(raw)


def _is_crowded(raw: bytes) -> bool:
    """Return whether there are more than `MAX_VALUES` values; arrays and objects count twice, by comma and bracket."""
    if _marks(raw) <= MAX_VALUES:
        return False
    pieces = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"', MAX_QUOTES + 1)
    return len(pieces) > MAX_QUOTES + 1 or _marks(b"".join(pieces[::2])) > MAX_VALUES


def _marks(raw: bytes) -> int:
    return sum(raw.count(mark) for mark in (b",", b"[", b"{"))


def validate(
    model: type[Model],
    document: object,
    *,
    context: Settings,
    naming: Naming = "snake",
    invalid_status: int = 422,
) -> Model:
    """Validate a document; rules that depend on a setting read it from `context`.

    Raises:
        ValidationFailed: Every failing field, in the spelling of `naming`.
    """
    if not isinstance(document, dict):
        error = FieldError("body", "must be a JSON object", "object_expected")
        raise ValidationFailed((error,), status=invalid_status)
    fields = model.fields_by_name()
    named = [(fields[name], value) for name, value in document.items() if name in fields]
    values = dict(named)
    if len(values) < len(named):
        repeated = [field for field, camel in model.spellings() if field != camel and {field, camel} <= document.keys()]
        raise ValidationFailed(tuple(_repeated(_spelled(field, naming)) for field in repeated), status=invalid_status)
    try:
        return model.model_validate(values, context=context)
    except ValidationError as error:
        errors = tuple(_field_error(detail, naming) for detail in error.errors(include_url=False, include_input=False))
        raise ValidationFailed(errors, status=invalid_status) from None


def query_values(model: type[Input], query: MultiMapping[str], *, invalid_status: int) -> dict[str, object]:
    """Return query parameters as a document, in which repeatable ones are arrays.

    Raises:
        ValidationFailed: Another parameter of the model is given more than once.
    """
    values_by_name = {
        name: query.getall(name)
        for field in model.spellings()
        for name in field
        if name in query and not (field[0] in model.absent_if_empty and not any(query.getall(name)))
    }
    repeated = [name for name, values in values_by_name.items() if len(values) > 1 and name not in model.repeatable]
    if repeated:
        raise ValidationFailed(tuple(_repeated(name) for name in repeated), status=invalid_status)
    return {name: values if name in model.repeatable else values[0] for name, values in values_by_name.items()}


def _repeated(name: str) -> FieldError:
    return FieldError(name, "is given more than once", "repeated")


def _spelled(field: str, naming: Naming) -> str:
    return to_camel(field) if naming == "camel" else field


def _field_error(detail: ErrorDetails, naming: Naming) -> FieldError:
    field, *path = detail["loc"] or ("body",)
    name = "".join([_spelled(str(field), naming), *(f"[{step}]" for step in path)])
    pydantic_words = re.sub("^(Input|String|List) should", "must", detail["msg"])
    return FieldError(name, MESSAGES.get(detail["type"], pydantic_words), detail["type"])
