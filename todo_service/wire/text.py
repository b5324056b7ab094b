"""Kinds of text that several subjects share, and how moments are written."""

import unicodedata
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul_character", "must not contain U+0000")
    return value


Text = Annotated[str, AfterValidator(_without_nul)]
TrimmedText = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_without_nul)]


def moment(value: datetime) -> str:
    """A moment in UTC as RFC 3339 with microseconds: `2026-11-21T12:00:00.000000Z`."""
    return value.isoformat(timespec="microseconds")[:-6] + "Z"


def folded(text: str) -> str:
    """The form in which emails are compared: letter case, width and composition make no difference."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
