"""Secrets as operators pass them: in a variable, in a file that `NAME_FILE` names, with quotes or line ends around."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

FILE = "_FILE"
MAX_BYTES = 64 * 1024
QUOTES = ("'", '"')


class SecretValues(NamedTuple):
    """The values to take by their fields, the variables that were cleaned, and the wrong variables with the reasons."""

    values: dict[str, str]
    cleaned: list[str]
    wrong: dict[str, str]


def read(environment: Mapping[str, str], fields: Collection[str]) -> SecretValues:
    """Return the values of these fields that come from a file, or that have white space or quotes around them."""
    found = SecretValues({}, [], {})
    for field in fields:
        name, file = field.upper(), environment.get(f"{field.upper()}{FILE}", "")
        text = environment.get(name, "")
        if file and text:
            found.wrong[name + FILE] = f"must not be set beside {name}: set one of the two"
            continue
        if file:
            try:
                text = _read_file(Path(file))
            except (OSError, ValueError) as error:
                found.wrong[name + FILE] = f"cannot be read: {getattr(error, 'strerror', None) or error}"
                continue
        clean = _clean(text)
        if clean != text.removesuffix("\n").removesuffix("\r") if file else clean != text:
            found.cleaned.append(name)
        if file or clean != text:
            found.values[field] = clean
    return found


def _read_file(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if not text.strip():
        raise ValueError("it is empty")
    return text


def _clean(text: str) -> str:
    """Return the text without white space and one pair of quotes around it."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES:
        return text[1:-1].strip()
    return text
