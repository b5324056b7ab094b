"""Mail through a real server: what it does when the server takes, refuses, puts off, stalls or hangs up."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from tests.certificates import certificate_for
from tests.mailbox import html_of, mail_server, text_of
from tests.proxy import refusing_port
from todo_service.auth import mailer as mail
from todo_service.auth.mailer import Mailer
from todo_service.config import smtp_url
from todo_service.observability.metrics import Metrics
from todo_service.wire.mails import Mail

ADDRESS = "ada.canary@example.com"


def message(number: int = 0, **changes: Any) -> Mail:
    values = {"kind": "password-reset", "user_id": "u1", "to": ADDRESS, "subject": f"s{number}", "text": "plain\n",
              "html": "<p>page</p>"}  # fmt: skip
    return Mail(**{**values, **changes})


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The log of the mailer."""
    capture = LogCapture()
    monkeypatch.setattr(mail, "log", structlog.wrap_logger(structlog.PrintLogger(), processors=[capture]))
    return capture.entries


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses, a hundred times shorter."""
    monkeypatch.setattr(mail, "PAUSES", tuple(pause / 500 for pause in mail.PAUSES))
    monkeypatch.setattr(mail, "CLOSE_SECONDS", 1.0)


@asynccontextmanager
async def mailer_to(url: str, metrics: Metrics | None = None) -> AsyncIterator[Mailer]:
    mailer = Mailer(
        server=smtp_url.parse(url, allow_plain=True),
        sender="Todo <no-reply@example.com>",
        folder=Path("/nonexistent"),
        metrics=metrics or Metrics(),
    )
    await mailer.open()
    try:
        yield mailer
    finally:
        await mailer.close()


def outcomes(metrics: Metrics) -> dict[str, float]:
    """What was counted, without what never happened."""
    return {
        sample.labels["outcome"]: sample.value
        for family in metrics.families()
        for sample in family.samples
        if sample.name == "todo_mails_total" and sample.value
    }


async def until_logged(logged: list[Any], event: str) -> Any:
    async with asyncio.timeout(10):
        while not (found := [entry for entry in logged if entry["event"] == event]):
            await asyncio.sleep(0.01)
    return found[0]


async def test_a_message_arrives_as_text_and_as_a_page(logged: list[Any]) -> None:
    metrics = Metrics()
    async with mail_server() as box, mailer_to(f"smtp://127.0.0.1:{box.port}", metrics) as mailer:
        mailer.send(message())
        arrived = await box.next_to(ADDRESS)
    assert (text_of(arrived).strip(), html_of(arrived).strip()) == ("plain", "<p>page</p>")
    assert (arrived["From"], arrived["To"], arrived["Subject"]) == ("Todo <no-reply@example.com>", ADDRESS, "s0")
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert arrived["Message-ID"].strip().endswith("@example.com>")
    assert outcomes(metrics) == {"sent": 1}
    assert ADDRESS not in str(logged)


async def test_a_refused_message_is_given_up_at_once(logged: list[Any]) -> None:
    metrics = Metrics()
    async with mail_server() as box, mailer_to(f"smtp://127.0.0.1:{box.port}", metrics) as mailer:
        box.answers = [f"550 no such user {ADDRESS}"]
        mailer.send(message())
        entry = await until_logged(logged, "mail_failed")
        assert (entry["reason"], box.tries) == ("SMTPRecipientsRefused 550", 1)
    assert outcomes(metrics) == {"failed": 1}
    assert ADDRESS not in str(logged)


async def test_a_message_that_is_put_off_is_sent_later(logged: list[Any]) -> None:
    metrics = Metrics()
    async with mail_server() as box, mailer_to(f"smtp://127.0.0.1:{box.port}", metrics) as mailer:
        box.answers = ["451 greylisted", "421 too busy"]
        mailer.send(message())
        await box.next_to(ADDRESS)
        await until_logged(logged, "mail_sent")
        assert box.tries == 3
    assert outcomes(metrics) == {"postponed": 2, "sent": 1}


async def test_a_server_that_hangs_up_is_asked_again() -> None:
    async with mail_server() as box, mailer_to(f"smtp://127.0.0.1:{box.port}") as mailer:
        box.hangs_up = 2
        mailer.send(message())
        await box.next_to(ADDRESS)
        assert box.tries == 3


async def test_a_server_that_stalls_is_left(monkeypatch: pytest.MonkeyPatch, logged: list[Any]) -> None:
    monkeypatch.setattr(mail, "SMTP_SECONDS", 0.2)
    async with mail_server() as box, mailer_to(f"smtp://127.0.0.1:{box.port}") as mailer:
        box.stalls = True
        mailer.send(message())
        await until_logged(logged, "mail_postponed")
        box.stalls = False
        await box.next_to(ADDRESS)


async def test_a_server_that_is_away_for_ten_minutes_has_a_last_try(logged: list[Any]) -> None:
    assert sum(mail.PAUSES) * 500 == pytest.approx(600)
    with refusing_port() as port:
        async with mailer_to(f"smtp://127.0.0.1:{port}") as mailer:
            mailer.send(message())
            entry = await until_logged(logged, "mail_failed")
    assert entry["reason"].startswith("SMTPConnectError")
    assert len([entry for entry in logged if entry["event"] == "mail_postponed"]) == len(mail.PAUSES)


async def test_the_last_messages_are_sent_at_the_end() -> None:
    async with mail_server() as box:
        async with mailer_to(f"smtp://127.0.0.1:{box.port}") as mailer:
            for number in range(30):
                mailer.send(message(number))
        assert {one["Subject"] for one in box.messages} == {f"s{number}" for number in range(30)}


async def test_an_end_without_a_server_is_bounded_and_says_what_is_lost(
    logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "PAUSES", (60.0,))
    metrics = Metrics()
    async with mail_server() as box:
        async with asyncio.timeout(5), mailer_to(f"smtp://127.0.0.1:{box.port}", metrics) as mailer:
            box.answers = ["451 later"]
            mailer.send(message())
            await until_logged(logged, "mail_postponed")
            box.stalls = True
            for number in range(8):
                mailer.send(message(number))
        dropped = [entry for entry in logged if entry["event"] == "mail_dropped"]
        assert {entry["reason"] for entry in dropped} == {"the service ends"}
        assert outcomes(metrics) == {"postponed": 1, "dropped": 9}
        mailer.send(message())
        assert (logged[-1]["event"], logged[-1]["reason"]) == ("mail_dropped", "the service ends")


async def test_too_many_messages_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch, logged: list[Any]) -> None:
    monkeypatch.setattr(mail, "MAX_WAITING", 3)
    metrics = Metrics()
    async with mail_server() as box, mailer_to(f"smtp://127.0.0.1:{box.port}", metrics) as mailer:
        for number in range(5):
            mailer.send(message(number))
        await box.next_to(ADDRESS, after=2)
    assert outcomes(metrics) == {"dropped": 2, "sent": 3}


@pytest.mark.parametrize(
    "to",
    [
        "ada@example.com\r\nBcc: eve@example.com", "ada@example.com, eve@example.com", "", "@",
        "\u00e9\r\nBcc: eve@example.com", "\u00e9, eve@example.com", "\u00e9 <eve>@example.com",
    ],
)  # fmt: skip
async def test_no_address_adds_a_header_or_a_recipient(to: str, logged: list[Any]) -> None:
    async with mail_server() as box, mailer_to(f"smtp://127.0.0.1:{box.port}") as mailer:
        mailer.send(message(to=to))
        await until_logged(logged, "mail_failed")
        assert (box.messages, box.recipients) == ([], [])
        mailer.send(message(subject="s\r\nBcc: eve@example.com"))
        await asyncio.sleep(0.1)
        assert (box.messages, box.recipients) == ([], [])


async def test_an_address_of_another_script_arrives() -> None:
    async with mail_server() as box, mailer_to(f"smtp://127.0.0.1:{box.port}") as mailer:
        mailer.send(message(to="ada@b\u00fccher.example"))
        await box.next_to("xn--bcher-kva.example")
        assert box.recipients == ["ada@xn--bcher-kva.example"]


# TLS.


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate, which this process trusts."""
    certificate, key = certificate_for(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize("scheme", ["smtps://{}", "smtp://{}?starttls=required"])
async def test_a_message_is_encrypted_and_the_password_sent(tls: ssl.SSLContext, scheme: str) -> None:
    async with (
        mail_server(tls=tls, is_starttls="starttls" in scheme, login=("ada", "p@ss")) as box,
        mailer_to(scheme.format(f"ada:p%40ss@localhost:{box.port}")) as mailer,
    ):
        mailer.send(message())
        await box.next_to(ADDRESS)
    assert (box.encrypted, box.logins) == ([True], [("ada", "p@ss")])


async def test_nothing_is_sent_in_clear_where_tls_is_required(logged: list[Any]) -> None:
    async with mail_server() as box, mailer_to(f"smtp://127.0.0.1:{box.port}?starttls=required") as mailer:
        mailer.send(message())
        assert (await until_logged(logged, "mail_failed"))["reason"] == "SMTPException"
        assert (box.tries, box.messages) == (0, [])


async def test_a_certificate_of_another_name_is_refused(tls: ssl.SSLContext, logged: list[Any]) -> None:
    async with mail_server(tls=tls) as box, mailer_to(f"smtps://127.0.0.1:{box.port}") as mailer:
        mailer.send(message())
        await until_logged(logged, "mail_postponed")
        assert (box.tries, box.messages) == (0, [])


async def test_a_wrong_password_is_tried_again_and_not_repeated(logged: list[Any]) -> None:
    async with (
        mail_server(login=("ada", "right")) as box,
        mailer_to(f"smtp://ada:QZX7KWV9@127.0.0.1:{box.port}") as mailer,
    ):
        mailer.send(message())
        entry = await until_logged(logged, "mail_postponed")
    assert entry["reason"] == "SMTPAuthenticationError 535"
    assert "QZX7KWV9" not in str(logged)
