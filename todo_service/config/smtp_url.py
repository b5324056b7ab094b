"""SMTP_URL, MAIL_FROM and the addresses in messages: their checks, and the mail server that the URL names."""

import email.policy
from dataclasses import dataclass, field
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

from todo_service.config.http_url import is_http_url

EXAMPLES = (
    "must be an address such as smtps://user:password@mail.example.com or smtp://mail.example.com?starttls=required"
)
PLACE = "{token}"


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server. `is_tls` is TLS from the first byte (RFC 8314), `is_starttls` TLS before anything is sent."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    is_tls: bool
    is_starttls: bool


def parse(url: str, *, allow_plain: bool) -> SmtpServer:
    """Parse a URL. Raises `ValueError` for one that cannot be used, or that sends in clear and may not."""
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ValueError(EXAMPLES) from None
    is_tls, starttls = parts.scheme == "smtps", query.pop("starttls", ["off"])
    wrong = parts.scheme not in ("smtp", "smtps") or not host or parts.path not in ("", "/") or query or port == 0
    if wrong or starttls not in (["off"], ["required"]) or (is_tls and starttls == ["required"]):
        raise ValueError(EXAMPLES)
    is_starttls = starttls == ["required"]
    if not is_tls and not is_starttls and not allow_plain:
        raise ValueError("must be encrypted outside development: smtps://…, or smtp://…?starttls=required")
    assert host is not None
    return SmtpServer(
        host=host,
        port=port or (465 if is_tls else 587 if is_starttls else 25),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password is not None else None,
        is_tls=is_tls,
        is_starttls=is_starttls,
    )


def check_sender(text: str) -> str:
    """Return the sender of messages. Raises `ValueError` if it is not one address, with or without a name."""
    try:
        message = EmailMessage(policy=email.policy.SMTP)
        message["From"] = text
        header = message["From"]
        (address,) = header.addresses
        is_one = bool(address.domain) and not header.defects
    except (ValueError, IndexError):
        is_one = False
    if not is_one:
        raise ValueError("must be one address, such as Todo <no-reply@example.com>")
    return text


def check_link(text: str, *, in_production: bool) -> str:
    """Return the template of a link. Raises `ValueError` unless it is a web address with one `{token}`."""
    if text.count(PLACE) != 1 or not is_http_url(text.replace(PLACE, "t")):
        raise ValueError(f"must be an address of a page of yours with {PLACE} in it, such as "
                         f"https://app.example.com/reset?token={PLACE}")  # fmt: skip
    if in_production and not text.startswith("https://"):
        raise ValueError("must begin with https:// in production: a reader of the link can use it")
    return text
