"""JSON as RFC 8259 has it, in UTF-8: no name twice in one object, no `NaN`. Bodies and tokens are read with it."""

import json
from typing import Any


class RepeatedNameError(ValueError):
    """An object names the same member twice."""


class NotANumberError(ValueError):
    """`NaN` or an infinity, which JSON does not have; the text is its name."""


def load(raw: bytes) -> Any:
    """The one document in `raw`.

    Raises these two errors, `json.JSONDecodeError`, `UnicodeDecodeError`, `RecursionError` if it is nested too deeply,
    and a bare `ValueError` for a number too long to read.
    """
    return json.loads(raw.decode(), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RepeatedNameError
    return found


def _refuse_constant(name: str) -> object:
    raise NotANumberError(name)
