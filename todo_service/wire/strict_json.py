"""Strict JSON (RFC 8259) in UTF-8: no repeated name in an object, no `NaN`. For bodies and tokens."""

import json
from typing import Any


class RepeatedNameError(ValueError):
    """An object has the same member twice."""


class NotANumberError(ValueError):
    """`NaN` or an infinity, which JSON does not have; the text is its name."""


def load(raw: bytes) -> Any:
    """Parse the one document in `raw`.

    Raises:
        RepeatedNameError, NotANumberError, json.JSONDecodeError, UnicodeDecodeError: It is not strict JSON.
        RecursionError: It is nested too deeply.
        ValueError: It has a number too long to read.
    """
    text = raw.decode()
    if text.startswith("\ufeff"):
        raise json.JSONDecodeError("Unexpected UTF-8 BOM (decode using utf-8-sig)", text, 0)
    return DECODER.decode(text)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise RepeatedNameError
    return members


def _refuse_constant(name: str) -> object:
    raise NotANumberError(name)


DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
