"""The bodies of account recovery, and the answer that mail is on its way."""

from pydantic import ConfigDict, Field

from todo_service.wire import emails
from todo_service.wire.codec import Input, Output
from todo_service.wire.emails import Email, EmailIfOne
from todo_service.wire.new_passwords import NewPassword
from todo_service.wire.users import Password

EXAMPLE_TOKEN = "k1Yp7Zk3mQ0b1yVw5h7X2c9R8tL6nD4sJ0fA_pGqUeK"  # noqa: S105 - nobody's


class ForgottenPassword(Input):
    """The email of an account: any string; the answer does not reveal whether an account has it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "ada@example.com"}]})

    email: EmailIfOne

    @property
    def email_key(self) -> str:
        """The email in the form in which it is compared."""
        return emails.key(self.email)


class PasswordReset(Input):
    """A new password, with the token of a link."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"token": EXAMPLE_TOKEN, "new_password": "better horse 10"}]}
    )

    token: str = Field(description="The part of the link in its place for the token.")
    new_password: NewPassword


class EmailChange(Input):
    """A new email for the account, with its password."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"new_email": "ada.l@example.com", "password": "correct horse 9"}]}
    )

    new_email: Email
    password: Password


class EmailVerification(Input):
    """The token of a link that confirms an email."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": EXAMPLE_TOKEN}]})

    token: str = Field(description="The part of the link in its place for the token.")


class MailAccepted(Output):
    """The request is taken; mail follows."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "A link is on its way to the address."}]})

    message: str
