"""The errors of the API, and the database constraints that become one of them.

Each concrete child of `ApiError` is one problem type of RFC 9457: `name` is the last segment of its stable `type` URI
`/problems/{name}`, the address of its `meaning`, `when` and `remedy`. Raised anywhere, answered in one place
(`middleware/errors.py`).
"""

import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

REALM = "todo-service"
MAX_ERRORS_IN_DETAIL = 10
FRESH_START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class FieldError:
    """One failing field of a body or a query: its JSON name, a sentence for a person, a word for a program."""

    field: str
    message: str
    code: str


class ApiError(Exception):
    """A refusal: `detail` is a sentence the caller can act on, `headers` go on the answer, `index` is that of the
    failing operation where several were asked for.
    """

    status: int
    name: ClassVar[str]
    title: ClassVar[str]
    meaning: ClassVar[str]
    when: ClassVar[str]
    remedy: ClassVar[str]
    headers: Mapping[str, str] = {}
    errors: tuple[FieldError, ...] = ()
    tasks: tuple[str, ...] = ()
    index: int | None = None

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or f"{self.meaning} {self.remedy}"
        super().__init__(self.detail)

    def name_operation(self, index: int) -> None:
        """Make it the refusal of one operation of several (0 is the first): the answer has no task's `ETag` then."""
        self.index = index
        self.detail = f"Operation {index}: {self.detail}"
        self.headers = {name: value for name, value in self.headers.items() if name != "ETag"}


class BadRequest(ApiError):
    status = 400
    name = "bad-request"
    title = "Bad request"
    meaning = "The request line or a header is not well-formed."
    when = "A request is not valid HTTP/1.1, or a service does not name its user in `X-User-ID`."
    remedy = "Check the request line and the headers."


class MalformedBody(ApiError):
    status = 400
    name = "malformed-body"
    title = "The body is not well-formed"
    meaning = "The body is not UTF-8, or not one JSON document without repeated keys."
    when = "A body is cut off, has the same key twice in one object, holds `NaN`, or is in another encoding than UTF-8."
    remedy = "Write the body with an encoder for its media type."


class ValidationFailed(ApiError):
    """Fields of the body or the query break a rule; `errors` names all of them. 422, or 400 in the older families."""

    status = 422
    name = "validation-error"
    title = "Some fields are not valid"
    meaning = "At least one field of the body or the query breaks a rule."
    when = "Creating, changing, listing or importing; the status is 400 in the owner and users families, elsewhere 422."
    remedy = "Correct every field named in `errors` and send the request again."

    def __init__(self, errors: tuple[FieldError, ...], *, status: int = 422) -> None:
        sentences = [f"{error.field}: {error.message}" for error in errors[:MAX_ERRORS_IN_DETAIL]]
        if len(errors) > MAX_ERRORS_IN_DETAIL:
            sentences.append(f"and {len(errors) - MAX_ERRORS_IN_DETAIL} more")
        super().__init__("; ".join(sentences))
        self.errors = errors
        self.status = status


class InvalidApiKey(ApiError):
    status = 400
    name = "invalid-api-key"
    title = "Not the form of an API key"
    meaning = "No key of this provider has this form. It was sent nowhere."
    when = "Storing or testing a key that is cut off, has a space or a line end in it, or is something else."
    remedy = "Copy the whole key from the provider's page, without spaces or line ends."


class ApiKeyRejected(ApiError):
    status = 400
    name = "api-key-rejected"
    title = "The provider does not accept this key"
    meaning = "The provider was asked and does not accept this API key. It was not stored."
    when = "Storing a key that was withdrawn, is mistyped, or may not use the API."
    remedy = "Make sure that the key is whole, active and allowed to use the API, or make a new one at the provider."


class EmailAlreadyRegistered(ApiError):
    status = 400
    name = "email-already-registered"
    title = "Email already registered"
    meaning = "Email already registered"
    when = "Registering with the email of an account that is there; letter case makes no difference."
    remedy = "Sign in with this email, or register with another one."

    def __init__(self) -> None:
        super().__init__(self.meaning)


class InvalidOneTimeToken(ApiError):
    status = 400
    name = "invalid-one-time-token"
    title = "The link is not valid"
    meaning = "The token of this link is unknown, used, expired or void."
    when = (
        "Using a link from a message a second time, too late, with changed characters, or after another change of "
        "password or email; the answer is the same for all of them."
    )
    remedy = "Ask for a new link, and use the newest one."


class Unauthenticated(ApiError):
    """No credential was shown, or the one shown does not hold (RFC 6750 section 3: only then an `error` is named)."""

    status = 401
    name = "unauthenticated"
    title = "Authentication needed"
    meaning = "The request carries no credential that is valid here."
    when = "The credential is missing, malformed, unknown, expired or revoked, or there are several."
    remedy = "Sign in and send the access token as `Authorization: Bearer <token>`."

    def __init__(self, detail: str | None = None, *, credential_sent: bool = True) -> None:
        super().__init__(detail)
        self.credential_sent = credential_sent
        error = ', error="invalid_token"' if credential_sent else ""
        self.headers = {"WWW-Authenticate": f'Bearer realm="{REALM}"{error}'}


class WrongPassword(Unauthenticated):
    name = "wrong-email-or-password"
    title = "Wrong email or password"
    meaning = "The email is unknown or the password is wrong."
    when = "Signing in, and wherever the password is asked for again."
    remedy = "Check both and try again."


class Forbidden(ApiError):
    status = 403
    name = "forbidden"
    title = "Not yours"
    meaning = "The path names a user who is not the caller."
    when = "`/api/{user_id}/tasks` or `/api/users/{user_id}/tasks` with the id of another user; administrators too."
    remedy = "Use your own user id in the path."


class AdminOnly(ApiError):
    status = 403
    name = "admin-only"
    title = "For administrators"
    meaning = "Only an administrator may do this."
    when = "Asking for the accounts of others without the role `admin`."
    remedy = "Ask an administrator to do it, or to give you the role; then sign in again."
    headers: Mapping[str, str] = {"WWW-Authenticate": f'Bearer realm="{REALM}", error="insufficient_scope"'}


class InsufficientScope(ApiError):
    """The credential is limited to scopes (RFC 6750 section 3.1), and has none of those that are allowed."""

    status = 403
    name = "insufficient-scope"
    title = "The token lacks a scope"
    meaning = "The token is limited to scopes, and this is outside of them."
    when = (
        "A personal access token or a service asks for something that its scopes do not contain. Administration, "
        "passwords, sessions, tokens and API keys are outside of every scope of a personal access token."
    )
    remedy = "Make a token with the scope that `WWW-Authenticate` names, or sign in."

    def __init__(self, allowed: Collection[str] = ()) -> None:
        names = " or ".join(f"`{scope}`" for scope in allowed)
        super().__init__(
            f"This needs the scope {names}, which the token does not have. Make a token that has it, or sign in."
            if allowed
            else "No token that is limited to scopes may do this, and no service. Sign in and use the access token."
        )
        scope = f', scope="{" ".join(allowed)}"' if allowed else ""
        self.headers = {"WWW-Authenticate": f'Bearer realm="{REALM}", error="insufficient_scope"{scope}'}


class PreflightRefused(ApiError):
    status = 403
    name = "preflight-refused"
    title = "Not for this page"
    meaning = "The page's origin, or the method or a header it wants to send, is not allowed here."
    when = "A browser asks on behalf of a page whether it may send a request, and it may not."
    remedy = "Ask the operator to add the origin to `CORS_ORIGINS`, and use a method and headers of this API."


class AccountInactive(ApiError):
    status = 403
    name = "account-inactive"
    title = "Account inactive"
    meaning = "This account has been deactivated."
    when = "Signing in to such an account, or a service acting for its user."
    remedy = "Ask an administrator to activate it."


class EmailNotVerified(ApiError):
    status = 403
    name = "email-not-verified"
    title = "Email not confirmed"
    meaning = "The email of this account has not been confirmed yet."
    when = "Signing in, or registering with a sign-in, where the operator has set `REQUIRE_VERIFIED_EMAIL`."
    remedy = "Use the link in the newest message to this address, then sign in."


class QuotaExceeded(ApiError):
    status = 403
    name = "quota-exceeded"
    title = "Quota exceeded"
    meaning = "You hold as much as one user may."
    when = (
        "Creating or importing more tasks than `MAX_TASKS_PER_USER` allows (by default 10,000), or having more than "
        "64 MiB of answers stored for an `Idempotency-Key`, or making more than 50 personal access tokens."
    )
    remedy = "Delete tasks or tokens you no longer need, then try again."


class NoPasswordAccount(ApiError):
    status = 403
    name = "no-password-account"
    title = "No account with a password"
    meaning = "This is about an account with a password here, and the credential shown is not of a sign-in to one."
    when = "Changing profile or password, signing out everywhere or deleting the account with a token from elsewhere."
    remedy = "Sign in with email and password, or change it with the service that made your account."


class NotFound(ApiError):
    status = 404
    name = "not-found"
    title = "Not found"
    meaning = "There is nothing at this address for you."
    when = "The path or the id is unknown, or its object is deleted or another user's: all look the same."
    remedy = "Check the path and the id."


NO_SUCH_TASK = "You have no task with this id. Check the id; the task may have been deleted."


class MethodNotAllowed(ApiError):
    status = 405
    name = "method-not-allowed"
    title = "Method not allowed"
    meaning = "This path does not answer to this method."
    when = "The path is right, the method is not."
    remedy = "Use one of the methods in the `Allow` header."

    def __init__(self, allowed: set[str]) -> None:
        super().__init__()
        self.headers = {"Allow": ", ".join(sorted(allowed))}


class BodyTimeout(ApiError):
    status = 408
    name = "body-timeout"
    title = "The body took too long"
    meaning = "The body of the request did not arrive in time."
    when = "More than 10 seconds have passed since the body was asked for."
    remedy = "Send it again over a faster connection."
    headers: Mapping[str, str] = {"Connection": "close"}


class TaskIdTaken(ApiError):
    status = 409
    name = "task-id-taken"
    title = "Task id already used"
    meaning = "You already have a task with this id."
    when = "Creating a task with an id you chose, when the task that has it differs from the body."
    remedy = "Choose another id, or change the task that has it."


class AmbiguousTask(ApiError):
    status = 409
    name = "ambiguous-task"
    title = "Several users have a task with this id"
    meaning = "Ids that clients choose are unique per user only, and this one is used by several."
    when = "An administrator asks for a task by its id alone."
    remedy = "Name the owner of the task: add `?user_id=`."


class UndoConflict(ApiError):
    """Tasks that another source has changed since; `tasks` has their ids."""

    status = 409
    name = "undo-conflict"
    title = "Changed since by another"
    meaning = "Another session, token or service has changed some of these tasks since. Nothing was taken back."
    when = "Taking back changes of tasks that another source has changed afterwards."
    remedy = "Look at the tasks named in `tasks`; send it again with `on_conflict` `skip` to leave them as they are."

    def __init__(self, tasks: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.tasks = tasks


class LastAdmin(ApiError):
    status = 409
    name = "last-admin"
    title = "The last administrator"
    meaning = "Without this account there would be no active administrator."
    when = "Demoting, deactivating or deleting the only active administrator."
    remedy = "Make another account an administrator first."


class AdminNeedsPassword(ApiError):
    status = 409
    name = "admin-needs-password"
    title = "Only an account with a password can be an administrator"
    meaning = "A user of an auth server acts as a user here, whatever role the account has."
    when = "Giving the role `admin` to a user of an auth server."
    remedy = "Register an account with email and password here, and give that one the role."


class CursorExpired(ApiError):
    status = 410
    name = "cursor-expired"
    title = "The cursor has expired"
    meaning = "The changes since this cursor are no longer known: it is too old, or of a lost state of the database."
    when = "Asking for changes after more than 30 days, or after the database was restored from a backup."
    remedy = "Start over without a cursor, and replace your whole copy; `Retry-After` says in how many seconds."

    def __init__(self) -> None:
        super().__init__()
        # After a restore every client starts over; a random pause spreads them.
        self.headers = {"Retry-After": str(1 + secrets.randbelow(FRESH_START_SECONDS))}


class HistoryExpired(ApiError):
    status = 409
    name = "history-expired"
    title = "Not all changes are kept"
    meaning = "Some changes since this version are no longer kept, so they cannot be taken back."
    when = "Going back to a version of longer ago than the history, or of before a restore of the database."
    remedy = "Name a later version, or take back a single request or source."


class PreconditionFailed(ApiError):
    status = 412
    name = "precondition-failed"
    title = "The task has changed"
    meaning = "The task is no longer at the version that `If-Match` or `if_version` names."
    when = "The task has changed since you read it, maybe from another of your devices. Nothing was overwritten."
    remedy = "Read it again, apply your change to its present state, and send it with the new version."

    def __init__(self, version: int) -> None:
        super().__init__(f"The task has changed: it is at version {version} now. {self.remedy}")
        self.headers = {"ETag": f'"{version}"'}


class BodyTooLarge(ApiError):
    status = 413
    name = "body-too-large"
    title = "The body is too large"
    meaning = "The body of the request is larger than this address accepts."
    when = "A body of more than 64 KiB; for a batch, more than 1 MiB; for an import, more than 16 MiB."
    remedy = "Send less at once."
    headers: Mapping[str, str] = {"Connection": "close"}

    def __init__(self, limit: int) -> None:
        super().__init__(f"A body may have at most {limit:,} bytes here. {self.remedy}")


class UriTooLong(ApiError):
    status = 414
    name = "uri-too-long"
    title = "The address is too long"
    meaning = "The request line is longer than this service reads."
    when = "The path and the query have more than 8,190 bytes together."
    remedy = "Shorten the query: filter by less at once."
    headers: Mapping[str, str] = {"Connection": "close"}


class HeadersTooLarge(ApiError):
    status = 431
    name = "headers-too-large"
    title = "The headers are too large"
    meaning = "A header is longer than this service reads, or there are too many."
    when = "A header has more than 8,192 bytes, or a request more than 128 headers."
    remedy = "Send fewer and shorter headers: cookies of the same domain are often the reason."
    headers: Mapping[str, str] = {"Connection": "close"}


class UnsupportedMediaType(ApiError):
    status = 415
    name = "unsupported-media-type"
    title = "Not a media type that is read here"
    meaning = "A body must be `application/json`, or another type that the address reads, in UTF-8, not compressed."
    when = "The body has another `Content-Type` or none, another charset, or a `Content-Encoding`."
    remedy = "Set `Content-Type` to the type of the body and send no `Content-Encoding`."

    def __init__(self, accepted: Collection[str]) -> None:
        types = " or ".join(f"`{name}`" for name in sorted(accepted))
        super().__init__(f"A body must be {types} here, in UTF-8, not compressed. {self.remedy}")


class ExpectationFailed(ApiError):
    status = 417
    name = "expectation-failed"
    title = "Expectation failed"
    meaning = "The only expectation known here is `100-continue`."
    when = "The request has an `Expect` header with something else in it."
    remedy = "Send the request without the `Expect` header."


class MisdirectedRequest(ApiError):
    status = 421
    name = "misdirected-request"
    title = "Not a host of this service"
    meaning = "The request is meant for a host that this service does not answer for."
    when = "The `Host` header names a host that is not in the operator's `ALLOWED_HOSTS`."
    remedy = "Use the address you were given; the operator adds others to `ALLOWED_HOSTS`."


class IdempotencyKeyReused(ApiError):
    status = 422
    name = "idempotency-key-reused"
    title = "Idempotency-Key used for another request"
    meaning = "This `Idempotency-Key` came with another path or body within the last 24 hours."
    when = "Sending the key again with anything changed in method, path, query or body."
    remedy = "Send a request again exactly as it was, or give a new one a key of its own."


class RateLimited(ApiError):
    status = 429
    name = "rate-limited"
    title = "Too many requests"
    meaning = "You have sent more requests than you may in this time."
    when = "The limit named in `RateLimit-Policy` is used up; the request was refused before anything was done."
    remedy = "Wait as long as `Retry-After` says and try again."

    def __init__(self, seconds: int) -> None:
        super().__init__(f"{self.meaning} The next one is answered in {seconds} s.")
        self.headers = {"Retry-After": str(seconds)}


class TooManyStreams(ApiError):
    status = 429
    name = "too-many-streams"
    title = "Too many requests that wait"
    meaning = "You have as many requests waiting for changes as one user may: 10."
    when = "Reading events or waiting for changes (`wait`) in more places at once."
    remedy = "End one of them, or ask without waiting."
    headers: Mapping[str, str] = {"Retry-After": "30"}


class InternalError(ApiError):
    status = 500
    name = "internal-error"
    title = "Internal error"
    meaning = "Something went wrong on our side."
    when = "A defect of the service; it is in the log under the `request_id`."
    remedy = "Try again; if it stays, report the `request_id` to the operator."


class ProviderUnreachable(ApiError):
    status = 502
    name = "provider-unreachable"
    title = "The provider could not be asked"
    meaning = "The provider did not answer in time, or its answer was no verdict on the API key."
    when = "Storing or testing a key while the provider is away, slow or in trouble."
    remedy = "Nothing was stored. Try again later with the same key."


class EncryptionNotConfigured(ApiError):
    status = 503
    name = "encryption-not-configured"
    title = "API keys are not stored here"
    meaning = "This service has no key to encrypt API keys with, and keeps none in clear."
    when = "Any request about API keys where `ENCRYPTION_KEY` is not set."
    remedy = "Ask the operator to set `ENCRYPTION_KEY`."
    headers: Mapping[str, str] = {"Retry-After": "3600"}


class MailNotConfigured(ApiError):
    status = 503
    name = "mail-not-configured"
    title = "No mail is sent here"
    meaning = "This service has no mail server, or no address for such links."
    when = "Asking for a link by mail where `SMTP_URL`, `PASSWORD_RESET_URL` or `EMAIL_VERIFY_URL` is not set."
    remedy = "Ask the operator, who can make a link with `bin/users reset-link`."
    headers: Mapping[str, str] = {"Retry-After": "3600"}


class DatabaseUnavailable(ApiError):
    status = 503
    name = "database-unavailable"
    title = "Temporarily unavailable"
    meaning = "The database does not answer in time."
    when = "The database is down, restarting, or so busy that an answer would take too long."
    remedy = "Wait as long as `Retry-After` says and try again."
    headers: Mapping[str, str] = {"Retry-After": "2"}


class IssuerUnavailable(ApiError):
    status = 503
    name = "issuer-unavailable"
    title = "Temporarily unable to check this token"
    meaning = "The auth server that publishes the keys of such tokens does not answer in time."
    when = "A token names a key not seen yet, and the auth server cannot be asked for it. The token may be good."
    remedy = "Wait as long as `Retry-After` says and try again."
    headers: Mapping[str, str] = {"Retry-After": "5"}


class Overloaded(ApiError):
    status = 503
    name = "overloaded"
    title = "Too busy"
    meaning = "There is more to do than can be done in time."
    when = "The service is busy with as many requests as it can carry, or you alone ask for too much at once."
    remedy = "Wait as long as `Retry-After` says and try again."
    headers: Mapping[str, str] = {"Retry-After": "2"}


def invalid(field: str, message: str, code: str, *, status: int = 422) -> ValidationFailed:
    """A validation error of one field."""
    return ValidationFailed((FieldError(field, message, code),), status=status)


CONSTRAINTS: Mapping[str, type[ApiError]] = {
    "account_emails_pkey": EmailAlreadyRegistered,
    "users_email_key_unique": EmailAlreadyRegistered,  # of a service before there was a table of emails
    "tasks_pkey": TaskIdTaken,
    "idempotency_keys_user_fkey": Overloaded,
    "user_api_keys_user_fkey": Overloaded,
    "personal_tokens_user_fkey": Overloaded,
    "one_time_tokens_user_fkey": Overloaded,
    "task_clocks_user_fkey": Overloaded,  # the user was deleted while a first task was written: the next try is sound
}


def from_constraint(name: str | None) -> ApiError | None:
    """Return the error for a violated constraint; None if only a defect of ours can violate it."""
    error = CONSTRAINTS.get(name or "")
    return error() if error else None


def kinds(base: type[ApiError] = ApiError) -> Iterator[type[ApiError]]:
    """Every problem type there is."""
    for child in base.__subclasses__():
        yield child
        yield from kinds(child)
