"""Sessions as JSON: the answer of a sign-in, and the bodies of refreshing and signing out."""

from typing import ClassVar, Literal, Protocol, Self
from uuid import UUID

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from todo_service.queries.refresh_tokens import SessionRow
from todo_service.queries.users import UserRow
from todo_service.wire.codec import Input, Output
from todo_service.wire.emails import EmailIfOne
from todo_service.wire.text import Written, format_moment
from todo_service.wire.users import EXAMPLE as PROFILE
from todo_service.wire.users import Password, Profile, profile

ACCESS_TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIwMWExIn0.c2lnbmF0dXJl"  # noqa: S105 - nobody's
EXAMPLE_TOKEN = "Zk3mQ0b1yVw5h7X2c9R8tL6nD4sJ0fA_pGqUeKiHo-M"  # noqa: S105 - nobody's

EXAMPLE: dict[str, JsonValue] = {
    "access_token": ACCESS_TOKEN,
    "refresh_token": EXAMPLE_TOKEN,
    "token_type": "bearer",
    "expires_in": 1800,
    "user": PROFILE,
}

SESSION: dict[str, JsonValue] = {
    "id": "0b0e8a50-6f0a-4f0c-9d8e-2f6a1f3b9c11",
    "created_at": "2026-11-21T13:16:15.767459Z",
    "last_used_at": "2026-11-22T08:01:02.000000Z",
    "expires_at": "2026-11-28T13:16:15.767459Z",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "current": True,
}

OLDER: dict[str, JsonValue] = {
    "token": ACCESS_TOKEN,
    "user_id": PROFILE["id"],
    "email": PROFILE["email"],
    "created_at": PROFILE["created_at"],
}


class PasswordGrant(Input):
    """A sign-in as OAuth 2.0 clients send it, in a form (RFC 6749 section 4.3.2). Other fields are ignored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"grant_type": "password", "username": "ada@example.com", "password": "correct horse 9"}]
        }
    )

    grant_type: Literal["password"]
    username: EmailIfOne = Field(description="The email.")
    password: Password


class Tokens(Output):
    """A sign-in."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    access_token: str = Field(description="Send it as `Authorization: Bearer`.")
    refresh_token: str = Field(description="Exchange it, once, for the next tokens.")
    token_type: Literal["bearer"]
    expires_in: int = Field(description="Seconds for which the access token holds.")
    user: Profile


class OlderTokens(Tokens):
    """A sign-in, with four fields more for the client that reads `token`."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE | OLDER]})

    token: str = Field(description="The access token again.")
    user_id: str
    email: str
    created_at: Written


class Verified(Output):
    """The caller of a token."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": PROFILE["id"], "email": PROFILE["email"], "verified": True}]}
    )

    user_id: str
    email: str | None
    verified: Literal[True]


class Refresh(Input):
    """The refresh token to exchange."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"refresh_token": EXAMPLE_TOKEN}]})

    refresh_token: str


class SignOut(Input):
    """The session of a refresh token, or every session."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"refresh_token": EXAMPLE_TOKEN}],
            "anyOf": [
                {"required": ["refresh_token"], "properties": {"refresh_token": {"not": {"type": "null"}}}},
                {"required": ["everywhere"], "properties": {"everywhere": {"const": True}}},
            ],
        }
    )
    nullable: ClassVar[frozenset[str]] = frozenset({"refresh_token"})

    refresh_token: str | None = None
    everywhere: bool = False

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if self.refresh_token is None and not self.everywhere:
            raise PydanticCustomError("missing", "must hold a refresh_token, or everywhere: true")
        return self


class SessionEntry(Output):
    """One session of the account."""

    model_config = ConfigDict(json_schema_extra={"examples": [SESSION]})

    id: str
    created_at: Written
    last_used_at: Written = Field(description="When its tokens were refreshed last.")
    expires_at: Written
    user_agent: str | None = Field(description="The `User-Agent` of its sign-in.")
    current: bool = Field(description="Whether it is the session of this request.")


class SessionList(Output):
    """The sessions of the account, the one used last first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"sessions": [SESSION]}]})

    sessions: list[SessionEntry]


def session_entry(row: SessionRow, *, current: UUID | None) -> dict[str, object]:
    """Return a session for its user, whose request belongs to the session `current`."""
    moments = {name: format_moment(getattr(row, name)) for name in ("created_at", "last_used_at", "expires_at")}
    return {"id": str(row.id), **moments, "user_agent": row.user_agent, "current": row.id == current}


class TokenAnswer(Protocol):
    """Writes the answer to a sign-in. `expires_in` in seconds."""

    def __call__(
        self, user: UserRow, *, access_token: str, refresh_token: str, expires_in: int
    ) -> dict[str, object]: ...


def token_answer(user: UserRow, *, access_token: str, refresh_token: str, expires_in: int) -> dict[str, object]:
    """Return the answer to a sign-in; `expires_in` in seconds."""
    return {
        "access_token": access_token,
        "refresh_token": refresh_token,
        "token_type": "bearer",
        "expires_in": expires_in,
        "user": profile(user),
    }


def older_token_answer(user: UserRow, *, access_token: str, refresh_token: str, expires_in: int) -> dict[str, object]:
    """Return the answer for the older client of `signup` and `signin`, with four fields more."""
    return token_answer(user, access_token=access_token, refresh_token=refresh_token, expires_in=expires_in) | {
        "token": access_token,
        "user_id": user.id,
        "email": user.email,
        "created_at": format_moment(user.created_at),
    }
