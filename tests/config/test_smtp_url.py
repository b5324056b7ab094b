"""Mail servers, senders and links in the settings: what is taken, and what stops the start."""

import pytest

from todo_service.config import smtp_url
from todo_service.config.settings import Settings, SettingsError
from todo_service.config.smtp_url import SmtpServer


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtps://ada:p%40ss@mail.example.com", SmtpServer("mail.example.com", 465, "ada", "p@ss", True, False)),
        ("smtps://mail.example.com:2465/", SmtpServer("mail.example.com", 2465, None, None, True, False)),
        ("smtp://mail.example.com?starttls=required", SmtpServer("mail.example.com", 587, None, None, False, True)),
        ("smtp://[::1]:1025", SmtpServer("::1", 1025, None, None, False, False)),
        ("smtp://localhost", SmtpServer("localhost", 25, None, None, False, False)),
    ],
)
def test_a_server_is_read(url: str, server: SmtpServer) -> None:
    assert smtp_url.parse(url, allow_plain=True) == server
    assert "p@ss" not in repr(server)


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com", "http://mail.example.com", "smtp://", "smtps://h?starttls=required", "smtp://h?starttls=maybe",
        "smtp://h?tls=1", "smtp://h/path", "smtp://h:0", "smtp://h:99999", "smtp://h?starttls", "smtp://[::1",
    ],
)  # fmt: skip
def test_a_wrong_url_is_refused_with_examples(url: str) -> None:
    with pytest.raises(ValueError, match="smtps://user:password@mail"):
        smtp_url.parse(url, allow_plain=True)


@pytest.mark.parametrize(
    "sender", ["", "Todo", "a@example.com, b@example.com", "a@example.com\r\nBcc: b@example.com", "@"]
)
def test_a_wrong_sender_is_refused(sender: str) -> None:
    with pytest.raises(ValueError, match="must be one address"):
        smtp_url.check_sender(sender)


@pytest.mark.parametrize(
    "link", ["https://a.example/reset", "https://a.example/{token}/{token}", "a/{token}", "ftp://a/{token}"]
)
def test_a_wrong_link_is_refused(link: str) -> None:
    with pytest.raises(ValueError, match="must be an address of a page"):
        smtp_url.check_link(link, in_production=False)


def wrong(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """What is said of the variables that stop the start."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    return str(refused.value)


def test_what_mail_needs_is_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    said = wrong(
        monkeypatch, ENVIRONMENT="production", SMTP_URL="smtp://ada:QZX7KWV9@mail.example.com",
        PASSWORD_RESET_URL="http://a.example/{token}", EMAIL_VERIFY_URL="https://a.example",
        REQUIRE_VERIFIED_EMAIL="true", SERVICE_AUTH_SCOPES="tasks:read,tasks:all",
    )  # fmt: skip
    for line in (
        "SMTP_URL: must be encrypted outside development", "PASSWORD_RESET_URL: must begin with https://",
        "EMAIL_VERIFY_URL: must be an address of a page", "REQUIRE_VERIFIED_EMAIL: needs SMTP_URL and EMAIL_VERIFY_URL",
        "SERVICE_AUTH_SCOPES: entry 2 must be one of tasks:read",
    ):  # fmt: skip
        assert line in said
    assert "QZX7KWV9" not in said


def test_a_server_needs_a_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MAIL_FROM: must be one address" in wrong(monkeypatch, SMTP_URL="smtp://localhost:1025")
    monkeypatch.setenv("MAIL_FROM", "no-reply@example.com")
    assert Settings.load().mail_from == "no-reply@example.com"


def test_all_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "must be all alone" in wrong(monkeypatch, SERVICE_AUTH_SCOPES="all,tasks:read")
    monkeypatch.delenv("SERVICE_AUTH_SCOPES")
    assert Settings.load().service_auth_scopes == ("all",)
