"""Email addresses in requests: of whom an account is, never whether mail arrives there."""

from typing import Annotated

import idna
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from todo_service.config.settings import Settings
from todo_service.wire.text import STORABLE, WITHOUT_NUL, folded

MAX_EMAIL = 254  # characters, RFC 5321
STAND_IN = ".example.com"  # behind a reserved domain, which the library would refuse whatever is right about it


def normalized(value: str) -> str:
    """Return an email address in its normal form, without the white space around it.

    Raises `PydanticCustomError` for anything else. A reserved domain (RFC 6761) is taken.
    """
    address = value.strip()
    stand_in = STAND_IN if is_reserved(address) else ""
    try:
        if len(address) > MAX_EMAIL:  # some Unicode takes quadratic time to normalize
            raise EmailNotValidError
        valid = validate_email(address + stand_in, check_deliverability=False, strict=True)
    except EmailNotValidError:
        raise PydanticCustomError("email", "must be an email address such as ada@example.com") from None
    return valid.normalized.removesuffix(stand_in)


def key(address: str) -> str:
    """Return a normalized address in the form in which it is compared; an empty one for no address."""
    local, _, domain = address.rpartition("@")
    return f"{folded(local)}@{idna.encode(domain).decode()}" if domain else ""


def is_reserved(address: str) -> bool:
    """Return whether the domain of an address is kept for a special use, so that no mail reaches it."""
    domain = address.rpartition("@")[2].lower()
    return f".{domain}".endswith(tuple(f".{name}" for name in SPECIAL_USE_DOMAIN_NAMES))


def _email(value: str, info: ValidationInfo) -> str:
    assert isinstance(info.context, Settings)
    address = normalized(value)
    if is_reserved(address) and not info.context.allow_reserved_email_domains:
        raise PydanticCustomError(
            "email_reserved_domain",
            "has a domain that is reserved and has no mail (such as .local, .localhost, .test): use another address, "
            "or the operator allows such domains with ALLOW_RESERVED_EMAIL_DOMAINS=true",
        )
    return address


def _email_if_one(value: str) -> str:
    try:
        return normalized(value)
    except PydanticCustomError:
        return ""  # no account has this email; the check takes the time of any other


_SCHEMA = {"type": "string", "format": "email", "maxLength": MAX_EMAIL}
Email = Annotated[str, STORABLE, AfterValidator(_email), WithJsonSchema(_SCHEMA)]
EmailIfOne = Annotated[str, STORABLE, AfterValidator(_email_if_one), Field(json_schema_extra=WITHOUT_NUL)]
