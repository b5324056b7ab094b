"""Accounts as JSON: a user's own profile, and the bodies of registering and signing in."""

from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from todo_service.queries.user_lists import COUNTED, Filter, Position
from todo_service.queries.users import UserChanges, UserRow
from todo_service.wire import cursors, emails
from todo_service.wire.codec import Input, Output
from todo_service.wire.emails import Email, EmailIfOne
from todo_service.wire.new_passwords import NewPassword
from todo_service.wire.task_lists import MAX_TEXT, Switch, begins_once
from todo_service.wire.text import (
    ENCODABLE,
    STORABLE,
    WITHOUT_NUL,
    Written,
    format_moment,
    whole_number,
)

EXAMPLE: dict[str, JsonValue] = {
    "id": "01a1fe40-1817-7619-88f5-225fab816885",
    "email": "ada@example.com",
    "email_verified": False,
    "full_name": "Ada",
    "role": "user",
    "is_active": True,
    "created_at": "2026-11-21T13:16:15.767459Z",
    "updated_at": "2026-11-21T13:16:15.767459Z",
}
Role = TypeAliasType("Role", Literal["user", "admin"])
FullName = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=255), STORABLE, Field(json_schema_extra=WITHOUT_NUL)
]
Password = Annotated[str, ENCODABLE, WithJsonSchema({"type": "string", "format": "password"})]
SIGN_IN: dict[str, JsonValue] = {"email": "ada@example.com", "password": "correct horse 9"}


class _Credentials(Input):
    email: str

    @property
    def email_key(self) -> str:
        """The email in the form in which it is compared."""
        return emails.key(self.email)


class Registration(_Credentials):
    """An account to create."""

    model_config = ConfigDict(json_schema_extra={"examples": [SIGN_IN | {"full_name": "Ada"}]})
    nullable: ClassVar[frozenset[str]] = frozenset({"full_name"})

    email: Email
    password: NewPassword
    full_name: Annotated[FullName | None, AfterValidator(lambda name: name or None)] = None


class SignIn(_Credentials):
    """Email and password: any two strings; the answer does not reveal whether an account has them."""

    model_config = ConfigDict(json_schema_extra={"examples": [SIGN_IN]})

    email: EmailIfOne
    password: Password


class Profile(Output):
    """An account."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [EXAMPLE]})

    id: str
    email: str | None = Field(description="Null for some users of an auth server.")
    email_verified: bool = Field(description="Whether a link that was sent there has been used.")
    full_name: str | None
    role: Role
    is_active: bool
    created_at: Written
    updated_at: Written


class Accounts(Output):
    """A page of accounts."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "users": [EXAMPLE],
                    "total": 1,
                    "total_is_estimate": False,
                    "skip": 0,
                    "limit": 100,
                    "next_cursor": None,
                }
            ]
        }
    )

    users: list[Profile]
    total: int = Field(ge=0, description="How many accounts match, on all pages.")
    total_is_estimate: bool = Field(description=f"Whether `total` is estimated, since there are more than {COUNTED:,}.")
    skip: int = Field(ge=0)
    limit: int = Field(ge=1)
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null if there is none.")


def profile(user: UserRow) -> dict[str, object]:
    """Return a user's view of their account."""
    return {
        "id": user.id,
        "email": user.email,
        "email_verified": user.email_verified,
        "full_name": user.full_name,
        "role": user.role,
        "is_active": user.is_active,
        "created_at": format_moment(user.created_at),
        "updated_at": format_moment(user.updated_at),
    }


class ProfileUpdate(Input):
    """A change to one's profile: absent fields stay, null clears."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"full_name": "Ada Lovelace"}]})
    nullable: ClassVar[frozenset[str]] = frozenset({"full_name"})

    full_name: Annotated[FullName | None, AfterValidator(lambda name: name or None)] = None


class PasswordChange(Input):
    """A change of password."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"current_password": "correct horse 9", "new_password": "better horse 10"}]}
    )

    current_password: Password
    new_password: NewPassword


class Confirmation(Input):
    """The password again, before an irreversible act."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "correct horse 9"}]})

    password: Password


class UserUpdate(Input):
    """An administrator's change to an account: absent fields stay, null clears the name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_active": False}]})
    nullable: ClassVar[frozenset[str]] = frozenset({"full_name"})

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
    """The filters of a list of accounts, and its page."""

    q: Annotated[str, StringConstraints(max_length=MAX_TEXT), STORABLE] | None = Field(
        None,
        description="Only accounts with this text in email or name, letter case aside; one or two characters begin it.",
        json_schema_extra=WITHOUT_NUL,
    )
    role: Role | None = Field(None, description="Only accounts with this role.")
    is_active: Switch | None = Field(None, description="Only active accounts, or only the others.")
    skip: Annotated[int, Field(ge=0, le=COUNTED), BeforeValidator(whole_number)] = Field(
        0, description="Leave out this many. It does not go with `cursor`, which has no bound."
    )
    limit: Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole_number)] = Field(
        100, description="How many at most."
    )
    cursor: str = Field("", description="For the next page: `next_cursor` or `Link` of this one, with these filters.")

    _begins_once = field_validator("cursor")(begins_once)

    def filter(self) -> Filter:
        return Filter(self.q or None, self.role, None if self.is_active is None else self.is_active == "true")

    def position(self) -> Position | None:
        """Return the end of the last page, None without a cursor. Raises `ValueError` for a cursor of another list."""
        position = cursors.read_user(self.cursor, digest=self.digest()) if self.cursor else None
        if self.cursor and position is None:
            raise ValueError
        return position

    def digest(self) -> str:
        """Return the digest that binds a cursor to its list."""
        return cursors.digest("users", self.filter())
