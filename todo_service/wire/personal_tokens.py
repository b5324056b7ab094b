"""Personal access tokens as JSON."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, StringConstraints
from typing_extensions import TypeAliasType

from todo_service.queries.personal_tokens import PersonalTokenRow
from todo_service.wire.codec import Input, Output
from todo_service.wire.text import STORABLE, WITHOUT_NUL, Written, format_moment

MAX_DAYS = 3650
EXAMPLE_TOKEN = "todo_pat_4Zk3mQ0b1yVw5h7X2c9R8tL6nD4sJ0fA2Bq1Yx"  # noqa: S105 - nobody's
EXAMPLE: dict[str, JsonValue] = {
    "id": "01a1fe40-1817-7619-88f5-225fab816885",
    "name": "morning report",
    "scopes": ["tasks:read"],
    "strict": False,
    "last_four": EXAMPLE_TOKEN[-4:],
    "created_at": "2026-11-21T13:16:15.767459Z",
    "expires_at": "2027-02-19T13:16:15.767459Z",
    "last_used_at": None,
}
PersonalScope = TypeAliasType("PersonalScope", Literal["tasks:read", "tasks:write", "tasks:delete", "account:read"])


class PersonalTokenCreate(Input):
    """A token to make."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "morning report", "scopes": ["tasks:read"], "expires_in_days": 90}]}
    )

    name: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
        STORABLE,
        Field(json_schema_extra=WITHOUT_NUL, description="To know it again in the list."),
    ]
    scopes: Annotated[
        list[PersonalScope],
        Field(min_length=1, max_length=20, description="All that the token may do."),
        AfterValidator(lambda scopes: [*dict.fromkeys(scopes)]),
    ]
    expires_in_days: int = Field(90, ge=1, le=MAX_DAYS)
    strict: bool = Field(False, description="Whether unknown names in its bodies and queries are validation errors.")


class PersonalToken(Output):
    """A token, without the secret itself."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: str
    name: str
    scopes: list[PersonalScope]
    strict: bool
    last_four: str = Field(description="The last characters of the token.")
    created_at: Written
    expires_at: Written
    last_used_at: Written | None = Field(description="Exact to a minute; null if it was never used.")


class NewPersonalToken(PersonalToken):
    """A new token: the only answer that has the token itself."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE | {"token": EXAMPLE_TOKEN}]})

    token: str = Field(description="Send it as `Authorization: Bearer`. It is shown this once.")


class PersonalTokens(Output):
    """The tokens of a user, newest first; expired ones stay in the list for 30 days."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tokens": [EXAMPLE]}]})

    tokens: list[PersonalToken]


def document(row: PersonalTokenRow) -> dict[str, object]:
    """Return a token for its owner."""
    return {
        "id": str(row.id),
        "name": row.name,
        "scopes": row.scopes,
        "strict": row.is_strict,
        "last_four": row.last_four,
        "created_at": format_moment(row.created_at),
        "expires_at": format_moment(row.expires_at),
        "last_used_at": row.last_used_at and format_moment(row.last_used_at),
    }
