"""Sign in as OAuth 2.0 clients do, with a form: documentation pages, and libraries that know this grant only."""

from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict

from todo_service.auth.access import Access
from todo_service.config.settings import SETTINGS
from todo_service.errors import AccountInactive, EmailNotVerified, MalformedBody, WrongPassword
from todo_service.limits.rate import Limit
from todo_service.routes.auth import log_in
from todo_service.routes.descriptions import describe
from todo_service.routes.strict_handling import STRICT
from todo_service.routes.table import Route
from todo_service.wire import codec
from todo_service.wire.auth import PasswordGrant, Tokens
from todo_service.wire.users import SignIn

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 20
TOKEN_PATH = "/api/v1/auth/token"  # noqa: S105


@describe({200: Tokens}, errors=(MalformedBody, WrongPassword, AccountInactive, EmailNotVerified))
async def issue_token(request: web.Request, body: bytes) -> web.Response:
    """Sign in with a form, as OAuth 2.0 clients do: the password grant (RFC 6749 section 4.3). The answers are those of
    the other sign-in.
    """
    settings = request.app[SETTINGS]
    request.pop(STRICT, None)  # OAuth 2.0 has fields that mean nothing here, and clients send them
    values = codec.query_values(PasswordGrant, _form(body), invalid_status=422)
    grant = codec.validate(PasswordGrant, values, context=settings)
    email_and_password = {"email": grant.username, "password": grant.password}
    return await log_in(request, codec.validate(SignIn, email_and_password, context=settings))


def _form(body: bytes) -> MultiDict[str]:
    """Return the fields of a form. Raises `MalformedBody`."""
    try:
        fields = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS, strict_parsing=bool(body)
        )
    except ValueError:
        raise MalformedBody(
            f"The body is not a form in UTF-8 of at most {MAX_FIELDS} fields. Send `grant_type=password&username=…`, "
            "with percent-encoding."
        ) from None
    return MultiDict(fields)


OAUTH2 = (
    Route(
        "POST",
        TOKEN_PATH,
        issue_token,
        Access.PUBLIC,
        "Sign in with a form (OAuth 2.0)",
        body=bytes,
        media={FORM: PasswordGrant},
        limit=Limit.AUTH,
    ),
)
