"""Mail: a queue in memory, senders outside of requests, and tries over ten minutes. No address is logged.

A message is accepted after its transaction and outside of the request's time. Without a mail server, in development,
messages become files and their links lines of the log.
"""

import asyncio
import email.policy
import email.utils
import itertools
import re
import time
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import idna
import structlog
from aiohttp import web

from todo_service.config.smtp_url import SmtpServer
from todo_service.observability.metrics import Metrics
from todo_service.wire.mails import VARIABLES, Mail

PAUSES = (5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 190.0)  # seconds before each further try: ten minutes in all
MAX_WAITING = 1000  # messages
_numbers = itertools.count()
_LOCAL = re.compile(r"[^\s\x00-\x20\x7f\"(),:;<>@\[\\\]]{1,64}")
OUTCOMES = ("sent", "postponed", "failed", "dropped")
MAX_LINE = 998  # characters
SENDERS = 4
SMTP_SECONDS = 20.0  # for one step of a conversation with the server
ENDING = "the service ends"
CLOSE_SECONDS = 5.0  # in which the last messages are sent at the end

log = structlog.get_logger()


class Mailer:
    """Sends messages through a server, or writes them to a folder.

    Args:
        server: None writes to `folder`.
        sender: The `From` of all messages.
    """

    def __init__(self, *, server: SmtpServer | None, sender: str, folder: Path, metrics: Metrics) -> None:
        self._server = server
        self._sender = sender
        self._folder = folder
        self._metrics = metrics
        metrics.expect_mails(VARIABLES, OUTCOMES)
        self._ready: asyncio.Queue[tuple[Mail, int]] = asyncio.Queue()
        self._waiting: dict[int, tuple[asyncio.TimerHandle, tuple[Mail, int]]] = {}
        self._open = 0  # accepted, and neither sent nor dropped
        self._is_closing = False
        self._tasks: list[asyncio.Task[None]] = []

    def send(self, mail: Mail) -> None:
        """Accept a message. One beyond `MAX_WAITING` is dropped and counted."""
        if self._open >= MAX_WAITING or self._is_closing:
            self._end(mail, "dropped", ENDING if self._is_closing else "too many wait")
            return
        self._open += 1
        self._ready.put_nowait((mail, 0))

    async def open(self) -> None:
        """Start the senders."""
        self._tasks = [asyncio.create_task(self._follow(), name=f"mail {number}") for number in range(SENDERS)]

    async def close(self) -> None:
        """Send the waiting messages for a few seconds; drop and count the rest."""
        self._is_closing = True
        for timer, entry in self._waiting.values():
            timer.cancel()
            self._ready.put_nowait(entry)
        self._waiting.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ready.join(), CLOSE_SECONDS)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        while not self._ready.empty():
            mail, _ = self._ready.get_nowait()
            self._end(mail, "dropped", ENDING)

    async def _follow(self) -> None:
        while True:
            mail, tries = await self._ready.get()
            try:
                await self._deliver(mail)
            except Exception as error:  # a sender goes on, whatever a message does
                self._on_failure(mail, tries, error)
            except asyncio.CancelledError:
                self._end(mail, "dropped", ENDING)
                raise
            else:
                self._open -= 1
                self._metrics.mail_ended(mail.kind, "sent")
                log.info("mail_sent", kind=mail.kind, user_id=mail.user_id, tries=tries + 1)
            finally:
                self._ready.task_done()

    async def _deliver(self, mail: Mail) -> None:
        message = self._message(mail)
        if self._server is None:
            path = await asyncio.to_thread(_write, self._folder, mail.kind, message)
            log.info("mail_written", kind=mail.kind, user_id=mail.user_id, file=str(path), link=mail.link)
            return
        client = aiosmtplib.SMTP(
            hostname=self._server.host,
            port=self._server.port,
            username=self._server.username,
            password=self._server.password,
            use_tls=self._server.is_tls,
            start_tls=self._server.is_starttls,
            timeout=SMTP_SECONDS,
        )
        try:
            await client.connect()
            await client.send_message(message)
            with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):  # the server has taken the message
                await client.quit(timeout=1)
        finally:
            client.close()  # without a word, if the server does not answer

    def _on_failure(self, mail: Mail, tries: int, error: Exception) -> None:
        reason = _reason(error)
        if tries >= len(PAUSES) or self._is_closing or _is_final(error):
            self._open -= 1
            self._end(mail, "failed", reason)
            return
        self._metrics.mail_ended(mail.kind, "postponed")
        log.warning("mail_postponed", kind=mail.kind, user_id=mail.user_id, tries=tries + 1, reason=reason)
        entry = (mail, tries + 1)
        number = next(_numbers)
        timer = asyncio.get_running_loop().call_later(PAUSES[tries], self._try_again, number)
        self._waiting[number] = timer, entry

    def _try_again(self, number: int) -> None:
        _, entry = self._waiting.pop(number)
        self._ready.put_nowait(entry)

    def _end(self, mail: Mail, outcome: str, reason: str) -> None:
        self._metrics.mail_ended(mail.kind, outcome)
        log.error(f"mail_{outcome}", kind=mail.kind, user_id=mail.user_id, reason=reason)

    def _message(self, mail: Mail) -> EmailMessage:
        """Return the message. The library refuses line ends in headers."""
        message = EmailMessage(policy=email.policy.SMTP)
        message["From"] = self._sender
        message["To"] = _address(mail.to)
        message["Subject"] = mail.subject
        message["Date"] = email.utils.localtime()
        message["Message-ID"] = email.utils.make_msgid(domain=message["From"].addresses[0].domain)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no machine answers it
        message.set_content(mail.text, cte=_encoding(mail.text))
        message.add_alternative(mail.html, subtype="html", cte=_encoding(mail.html))
        return message


def _address(text: str) -> Address:
    """Return an address with its domain in ASCII. Raises `ValueError` for anything else than one address."""
    local, _, domain = text.rpartition("@")
    domain = idna.encode(domain, uts46=True).decode()
    if local.isascii():
        return Address(addr_spec=f"{local}@{domain}")
    if not _LOCAL.fullmatch(local):  # the library parses ASCII only; RFC 6531 adds other letters to an atom
        raise ValueError("not the local part of an address")
    return Address(username=local, domain=domain)


def _encoding(text: str) -> str:
    """Return the transfer encoding of a part: as it is where RFC 5322 allows it, so that a link is in one piece."""
    is_plain = text.isascii() and max(map(len, text.splitlines()), default=0) <= MAX_LINE
    return "7bit" if is_plain else "quoted-printable"


def _is_final(error: Exception) -> bool:
    """Return whether another try would end the same: the server has refused this message (RFC 5321, 5yz), or it is not
    the server's fault.
    """
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(refused.code >= 500 for refused in error.recipients)
    is_refusal = isinstance(error, (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPDataError))
    is_of_server = isinstance(error, (aiosmtplib.SMTPException, OSError, TimeoutError))
    return not is_of_server or (is_refusal and getattr(error, "code", 0) >= 500)


def _reason(error: Exception) -> str:
    """Return the kind of an error and its code: the server's words may repeat the address."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = ", ".join(str(refused.code) for refused in error.recipients)
        return f"{type(error).__name__} {codes}"
    code = getattr(error, "code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__


def _write(folder: Path, kind: str, message: EmailMessage) -> Path:
    """Write a message to a file of its own, for its owner alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}-{time.time_ns() % 10**9:09}-{next(_numbers)}.eml"
    path.touch(mode=0o600)
    path.write_bytes(message.as_bytes())
    return path


MAILER = web.AppKey("mailer", Mailer)
