"""A real mail server on loopback, which can refuse, put off, stall and hang up, and what arrives there."""

import asyncio
import email
import email.policy
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

LINK = re.compile(r"https?://\S+token=([A-Za-z0-9_-]{43})\b")


@dataclass
class Mailbox:
    """A server's handler. `answers` are given to the next recipients, one each, instead of accepting them."""

    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    tries: int = 0
    port: int = 0
    stalls: bool = False
    hangs_up: int = 0
    login: tuple[str, str] | None = None
    logins: list[tuple[str, str]] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _: Session, envelope: Envelope, address: str, __: list[str]
    ) -> str:
        self.tries += 1
        if self.stalls:
            await asyncio.sleep(60)
        if self.hangs_up:
            self.hangs_up -= 1
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        if self.answers:
            return self.answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.SMTP)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        self.recipients += envelope.rcpt_tos
        transport = server.transport
        assert isinstance(transport, asyncio.Transport)
        self.encrypted.append(transport.get_extra_info("ssl_object") is not None)
        return "250 OK"

    def authenticate(self, _: SMTP, __: Session, ___: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=self.login == self.logins[-1], handled=False)

    async def next_to(self, address: str, *, after: int = 0) -> EmailMessage:
        """The message to an address that follows the first `after` ones."""
        async with asyncio.timeout(10):
            while len(found := [one for one in self.messages if address in str(one["To"])]) <= after:
                await asyncio.sleep(0.01)
        return found[after]


@asynccontextmanager
async def mail_server(
    *, tls: ssl.SSLContext | None = None, is_starttls: bool = False, login: tuple[str, str] | None = None
) -> AsyncIterator[Mailbox]:
    """A running server: in clear, with STARTTLS, or with TLS from the start."""
    box = Mailbox(login=login)

    def connection() -> SMTP:
        return SMTP(
            box,
            hostname="mail.test",
            tls_context=tls if is_starttls else None,
            require_starttls=is_starttls,
            authenticator=box.authenticate if login else None,
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
            enable_SMTPUTF8=True,
        )

    server = await asyncio.get_running_loop().create_server(
        connection, "127.0.0.1", 0, ssl=None if is_starttls else tls
    )
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()


async def written_token(folder: Path, address: str, kind: str) -> str:
    """The token of the message of a kind that a service without a mail server has written."""
    async with asyncio.timeout(10):
        while True:
            for path in sorted((folder / "mail").glob(f"*-{kind}-*"), reverse=True):
                message = email.message_from_bytes(path.read_bytes(), policy=email.policy.SMTP)
                assert isinstance(message, EmailMessage)
                if message["To"] == address and LINK.search(text_of(message)):
                    return token_of(message)
            await asyncio.sleep(0.02)


def text_of(message: EmailMessage) -> str:
    """The plain text of a message."""
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def html_of(message: EmailMessage) -> str:
    """The page of a message."""
    part = message.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def token_of(message: EmailMessage) -> str:
    """The token in a message's link, which is the same in both of its parts."""
    (token,) = LINK.findall(text_of(message))
    assert set(LINK.findall(html_of(message))) == {token}
    return str(token)
