"""Accounts as JSON: a user's own profile, and what registering and signing in take and give."""

from typing import Annotated, Literal, Protocol, Self

import idna
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from todo_service.queries.users import Filter, UserChanges, UserRow
from todo_service.wire.codec import Input
from todo_service.wire.new_passwords import NewPassword
from todo_service.wire.text import ENCODABLE, STORABLE, folded, moment, whole_number

MAX_EMAIL = 254  # characters, RFC 5321


def _email(value: str) -> str:
    try:
        if len(value) > MAX_EMAIL:  # some Unicode takes quadratic time to normalize
            raise EmailNotValidError
        return validate_email(value, check_deliverability=False, strict=True).normalized
    except EmailNotValidError:
        raise PydanticCustomError("email", "must be an email address such as ada@example.com") from None


def _email_if_one(value: str) -> str:
    try:
        return _email(value)
    except PydanticCustomError:
        return ""  # no account has it; checking that takes the time of any other


Role = Literal["user", "admin"]
Email = Annotated[str, STORABLE, AfterValidator(_email)]
FullName = Annotated[str, StringConstraints(strip_whitespace=True, max_length=255), STORABLE]


class _Credentials(Input):
    email: str

    @property
    def email_key(self) -> str:
        """The email as it is compared."""
        local, _, domain = self.email.rpartition("@")
        return f"{folded(local)}@{idna.encode(domain).decode()}" if domain else ""


class Registration(_Credentials):
    """The body of a registration."""

    email: Email
    password: NewPassword
    full_name: Annotated[FullName | None, AfterValidator(lambda name: name or None)] = None


class SignIn(_Credentials):
    """The body of a sign-in: any two strings; whether an account has them is not said here."""

    email: Annotated[str, STORABLE, AfterValidator(_email_if_one)]
    password: Annotated[str, ENCODABLE]


def profile(user: UserRow) -> dict[str, object]:
    """What a user may see of their account."""
    return {
        "id": user.id,
        "email": user.email,
        "full_name": user.full_name,
        "role": user.role,
        "is_active": user.is_active,
        "created_at": moment(user.created_at),
        "updated_at": moment(user.updated_at),
    }


class Refresh(Input):
    """The body of a refresh."""

    refresh_token: str


class SignOut(Input):
    """The body of a sign-out: the session of a refresh token, or every session."""

    refresh_token: str | None = None
    everywhere: bool = False

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if self.refresh_token is None and not self.everywhere:
            raise PydanticCustomError("missing", "must hold a refresh_token, or everywhere: true")
        return self


class ProfileUpdate(Input):
    """The body of a change to one's profile: what is absent stays, null clears."""

    full_name: Annotated[FullName | None, AfterValidator(lambda name: name or None)] = None


class PasswordChange(Input):
    """The body of a change of password."""

    current_password: Annotated[str, ENCODABLE]
    new_password: NewPassword


class Confirmation(Input):
    """The password again, before what cannot be undone."""

    password: Annotated[str, ENCODABLE]


class UserUpdate(Input):
    """The body of an administrator's change to an account: what is absent stays, null clears the name."""

    role: Role | None = None
    is_active: bool | None = None
    full_name: Annotated[FullName | None, AfterValidator(lambda name: name or None)] = None

    @field_validator("role", "is_active", mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise PydanticCustomError("null", "must not be null")
        return value

    def changes(self) -> UserChanges:
        return UserChanges(
            role=self.role,
            is_active=self.is_active,
            sets_full_name="full_name" in self.model_fields_set,
            full_name=self.full_name,
        )


class UserQuery(Input):
    """Which accounts: `q` is a substring of email or name, letter case aside."""

    q: Annotated[str, STORABLE] | None = None
    role: Role | None = None
    is_active: Literal["true", "false"] | None = None
    skip: Annotated[int, BeforeValidator(whole_number), Field(ge=0)] = 0
    limit: Annotated[int, BeforeValidator(whole_number), Field(ge=1, le=1000)] = 100

    def filter(self) -> Filter:
        return Filter(self.q, self.role, None if self.is_active is None else self.is_active == "true")


class TokenAnswer(Protocol):
    """Writes the answer to a sign-in. `expires_in` in seconds."""

    def __call__(
        self, user: UserRow, *, access_token: str, refresh_token: str, expires_in: int
    ) -> dict[str, object]: ...


def token_answer(user: UserRow, *, access_token: str, refresh_token: str, expires_in: int) -> dict[str, object]:
    """What a sign-in gives."""
    return {
        "access_token": access_token,
        "refresh_token": refresh_token,
        "token_type": "bearer",
        "expires_in": expires_in,
        "user": profile(user),
    }


def older_token_answer(user: UserRow, *, access_token: str, refresh_token: str, expires_in: int) -> dict[str, object]:
    """The same and four fields more: what the client of `signup` and `signin` reads."""
    return token_answer(user, access_token=access_token, refresh_token=refresh_token, expires_in=expires_in) | {
        "token": access_token,
        "user_id": user.id,
        "email": user.email,
        "created_at": moment(user.created_at),
    }
