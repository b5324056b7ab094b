"""Users' API keys as JSON: the bodies and answers of storing, testing, reading and deleting one."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, SecretStr
from pydantic_core import PydanticCustomError

from todo_service import ai_providers
from todo_service.ai_providers import PROVIDERS, Provider, Verdict
from todo_service.errors import InvalidApiKey
from todo_service.queries.user_api_keys import ApiKeyRow
from todo_service.wire.codec import Input, Output
from todo_service.wire.text import Written, format_moment

UNDECRYPTABLE = "undecryptable"  # of a stored key that cannot be decrypted
MESSAGES = {
    Verdict.VALID: "The provider accepts the API key.",
    Verdict.INVALID: "The provider does not accept the API key.",
    Verdict.QUOTA_EXCEEDED: "The API key is good, but its quota at the provider is used up for now.",
}

_MOMENT = "2026-11-21T13:16:16.076896Z"
EXAMPLE: dict[str, JsonValue] = {
    "configured": True,
    "provider": "gemini",
    "masked_key": "AIza...123",
    "plaintext_key": None,
    "validation_status": "valid",
    "last_validated_at": _MOMENT,
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
}


def _check_provider(name: str) -> str:
    if name not in PROVIDERS:
        raise PydanticCustomError("enum", "must be one of: {names}", {"names": ", ".join(PROVIDERS)})
    return name


FORM = "^(?:" + "|".join(dict.fromkeys(provider.form.pattern for provider in PROVIDERS.values())) + ")$"
ProviderName = Annotated[str, AfterValidator(_check_provider), Field(json_schema_extra={"enum": list(PROVIDERS)})]


class ApiKeyQuery(Input):
    """The provider of the key."""

    provider: ProviderName = Field(ai_providers.DEFAULT, description="The provider of the key.")


class ApiKeyInput(ApiKeyQuery):
    """The body of storing or testing a key."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"api_key": "AIzaSy-an-example-that-is-no-key-0123"}]})

    api_key: Annotated[SecretStr, Field(json_schema_extra={"pattern": FORM})]

    def key_for(self, provider: Provider) -> str:
        """Return the key if it has the provider's form. Raises `InvalidApiKey`."""
        key = self.api_key.get_secret_value()
        if not provider.form.fullmatch(key):
            raise InvalidApiKey
        return key


class ApiKeyStored(Output):
    """A key was accepted by its provider and is stored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"success": True, "message": f"{MESSAGES[Verdict.VALID]} It is stored.", "masked_key": "AIza...123"}
            ]
        }
    )

    success: Literal[True]
    message: str
    masked_key: str = Field(description="The first four characters and the last three.")


class ApiKeyTested(Output):
    """The provider's verdict on a key; nothing is stored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"success": True, "message": MESSAGES[Verdict.VALID], "validation_status": "valid"}]
        }
    )

    success: bool = Field(description="Whether the key could be stored.")
    message: str
    validation_status: Literal["valid", "invalid", "quota_exceeded"]


class ApiKeyDeleted(Output):
    """A key is no longer stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"success": True, "message": "The API key is deleted."}]})

    success: Literal[True]
    message: str


class ApiKeyState(Output):
    """The stored key of a provider. Without one everything but the first two fields is null."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    configured: bool
    provider: str
    masked_key: str | None = Field(description="For its owner; null for a service, and if the key cannot be read.")
    plaintext_key: str | None = Field(description="For a service that acts for the owner; null for other callers.")
    validation_status: Literal["valid", "quota_exceeded", "undecryptable"] | None
    last_validated_at: Written | None
    created_at: Written | None
    updated_at: Written | None


def masked(api_key: str) -> str:
    """Return the part of a key by which its owner recognises it."""
    return f"{api_key[:4]}...{api_key[-3:]}"


def stored(api_key: str, verdict: Verdict) -> dict[str, object]:
    """Return the answer to storing a key."""
    return {"success": True, "message": f"{MESSAGES[verdict]} It is stored.", "masked_key": masked(api_key)}


def tested(verdict: Verdict) -> dict[str, object]:
    """Return the answer to testing a key; it is a success if the key could be stored."""
    success = verdict is not Verdict.INVALID
    return {"success": success, "message": MESSAGES[verdict], "validation_status": verdict.value}


def deleted() -> dict[str, object]:
    """Return the answer to deleting a key."""
    return {"success": True, "message": "The API key is deleted."}


def absent(provider: str) -> dict[str, object]:
    """Return the answer where no key is stored."""
    return _document(provider, configured=False)


def document(row: ApiKeyRow, api_key: str | None, *, in_clear: bool) -> dict[str, object]:
    """Return a stored key, masked or `in_clear`; None is one that cannot be decrypted."""
    return _document(
        row.provider,
        configured=True,
        masked_key=masked(api_key) if api_key is not None and not in_clear else None,
        plaintext_key=api_key if in_clear else None,
        validation_status=row.validation_status if api_key is not None else UNDECRYPTABLE,
        last_validated_at=format_moment(row.last_validated_at),
        created_at=format_moment(row.created_at),
        updated_at=format_moment(row.updated_at),
    )


def _document(provider: str, *, configured: bool, **fields: str | None) -> dict[str, object]:
    """Return a document with the same keys for every state."""
    return {
        "configured": configured,
        "provider": provider,
        "masked_key": fields.get("masked_key"),
        "plaintext_key": fields.get("plaintext_key"),
        "validation_status": fields.get("validation_status"),
        "last_validated_at": fields.get("last_validated_at"),
        "created_at": fields.get("created_at"),
        "updated_at": fields.get("updated_at"),
    }
