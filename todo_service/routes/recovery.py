"""Account recovery: a forgotten password, and the account's email address."""

from aiohttp import web

from todo_service.auth import accounts, audit, recovery
from todo_service.auth.access import Access
from todo_service.auth.caller import OWNER
from todo_service.auth.rate_limiting import spend_for_email
from todo_service.auth.recovery import RECOVERY
from todo_service.auth.reset_requests import RESET_REQUESTS
from todo_service.errors import (
    EmailAlreadyRegistered,
    InvalidOneTimeToken,
    MailNotConfigured,
    WrongPassword,
    invalid,
)
from todo_service.limits.rate import Limit
from todo_service.postgres.database import DATABASE
from todo_service.routes import responses
from todo_service.routes.auth import V1, hasher
from todo_service.routes.descriptions import describe
from todo_service.routes.table import Route
from todo_service.wire import emails
from todo_service.wire.new_passwords import is_email
from todo_service.wire.recovery import EmailChange, EmailVerification, ForgottenPassword, MailAccepted, PasswordReset

IF_THERE_IS_ONE = "If an active account has this email, a link is on its way to it. It is valid for 30 minutes."
CONFIRM = "If no other account has this address, a link is on its way to it. It is valid for 24 hours."


@describe({202: MailAccepted}, errors=(MailNotConfigured,))
async def request_password_reset(request: web.Request, body: ForgottenPassword) -> web.Response:
    """Ask for a link to choose a new password. The answer is the same whether or not there is such an account."""
    await spend_for_email(request, body.email_key)
    request.app[RESET_REQUESTS].add(body.email_key, audit.entry_of(request, "password_reset_requested"))
    return responses.json({"message": IF_THERE_IS_ONE}, status=202, headers=responses.SECRET)


@describe({204: None}, errors=(InvalidOneTimeToken,))
async def reset_password(request: web.Request, body: PasswordReset) -> web.Response:
    """Choose a new password with the token of a link. Every session of the account ends."""
    user = await request.app[RECOVERY].user_of(body.token, recovery.PASSWORD)
    email = user.email or ""
    await spend_for_email(request, emails.key(email))
    if is_email(body.new_password, email):
        raise invalid("new_password", "must not be the email or its first part", "password_is_email")
    entry = audit.entry_of(request, "password_reset")
    await request.app[RECOVERY].reset_password(hasher(request), user, body.token, body.new_password, entry)
    return responses.no_content()


@describe({202: MailAccepted}, errors=(MailNotConfigured, WrongPassword))
async def change_email(request: web.Request, body: EmailChange) -> web.Response:
    """Ask for another email address for your account. A link goes to it and a notice to the present one; the address
    changes when the link is used. With your present address, the link confirms that one.
    """
    user = await accounts.read(request.app[DATABASE], request[OWNER])
    entry = audit.entry_of(request, "email_change_requested")
    await accounts.confirm(request.app[DATABASE], hasher(request), user, body.password, entry)
    await request.app[RECOVERY].request_email(user, body.new_email, entry)
    return responses.json({"message": CONFIRM}, status=202, headers=responses.SECRET)


@describe({204: None}, errors=(InvalidOneTimeToken, EmailAlreadyRegistered))
async def verify_email(request: web.Request, body: EmailVerification) -> web.Response:
    """Confirm an email address with the token of a link."""
    await request.app[RECOVERY].verify_email(body.token, audit.entry_of(request, "email_verified"))
    return responses.no_content()


RECOVERY_ROUTES = (
    Route(
        "POST",
        f"{V1}/password/forgot",
        request_password_reset,
        Access.PUBLIC,
        "Forgotten password",
        body=ForgottenPassword,
        limit=Limit.AUTH,
    ),
    Route(
        "POST",
        f"{V1}/password/reset",
        reset_password,
        Access.PUBLIC,
        "Choose a new password with a link",
        body=PasswordReset,
        limit=Limit.AUTH,
    ),
    Route("POST", f"{V1}/email", change_email, Access.ACCOUNT, "Change my email", body=EmailChange, limit=Limit.AUTH),
    Route(
        "POST",
        f"{V1}/email/verify",
        verify_email,
        Access.PUBLIC,
        "Confirm an email with a link",
        body=EmailVerification,
        limit=Limit.AUTH,
    ),
)
