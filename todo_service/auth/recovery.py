"""One-time links by mail: for a new password, and for an email address that its user confirms.

A link's token is 256 random bits, stored as SHA-256. It is bound to the email and the password hash of its
account, so that a change of either voids it, whichever code makes the change.
"""

import hashlib
import re
import secrets

import structlog
from aiohttp import web

from todo_service.auth.audit import ANONYMOUS
from todo_service.auth.mailer import Mailer
from todo_service.auth.passwords import PasswordHasher
from todo_service.config.smtp_url import PLACE
from todo_service.errors import AccountInactive, InvalidOneTimeToken, MailNotConfigured, NoPasswordAccount
from todo_service.postgres.connection import Connection
from todo_service.postgres.database import Database
from todo_service.queries import audit_log, one_time_tokens, personal_tokens, refresh_tokens, users
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.one_time_tokens import UsedToken
from todo_service.queries.users import UserRow
from todo_service.wire import emails
from todo_service.wire.mails import MailTemplates

PASSWORD, EMAIL = "password", "email"  # purposes
SECONDS = {PASSWORD: 30 * 60, EMAIL: 24 * 60 * 60}
VALID_FOR = {PASSWORD: "30 minutes", EMAIL: "24 hours"}
MAX_LINKS, PERIOD = 5, 30 * 60  # of an account and a purpose, in seconds: no stranger can fill a mailbox
_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

log = structlog.get_logger()


class Recovery:
    """Sends links and carries out their acts.

    Args:
        mailer: None where no mail can be sent.
        reset_url, verify_url: Templates with `{token}`; None where there are no such links.
    """

    def __init__(
        self,
        database: Database,
        mailer: Mailer | None,
        templates: MailTemplates,
        *,
        reset_url: str | None,
        verify_url: str | None,
    ) -> None:
        self._database = database
        self._mailer = mailer
        self._templates = templates
        self._urls = {PASSWORD: reset_url, EMAIL: verify_url}

    def check(self, purpose: str) -> None:
        """Raise `MailNotConfigured` if links for a purpose cannot be sent."""
        if self._mailer is None or self._urls[purpose] is None:
            raise MailNotConfigured

    async def send_reset(self, user: UserRow, audit: AuditEntry) -> None:
        """Send a link for a new password.

        Raises:
            MailNotConfigured: No mail can be sent here.
            NoPasswordAccount: The user signs in elsewhere.
            AccountInactive: The account is deactivated.
        """
        self.check(PASSWORD)
        if user.password_hash is None or user.email is None:
            raise NoPasswordAccount("This user signs in elsewhere and has no password here.")
        if not user.is_active:
            raise AccountInactive
        await self._send("password-reset", user, PASSWORD, user.email, audit, is_bounded=audit.actor_id == ANONYMOUS)

    async def send_verification(self, user: UserRow, audit: AuditEntry) -> None:
        """Send a link that confirms the account's own email."""
        assert user.email is not None  # it has a password
        await self._send("email-verification", user, EMAIL, user.email, audit)

    async def request_email(self, user: UserRow, new_email: str, audit: AuditEntry) -> None:
        """Send a link to a new address, and a notice to the present one. An address that has another account gets
        nothing, and the answer is the same.

        Raises:
            MailNotConfigured: No mail can be sent here.
        """
        self.check(EMAIL)
        assert user.email is not None
        if emails.key(new_email) == emails.key(user.email):
            await self.send_verification(user, audit)
            return
        async with self._database.connection() as db:
            is_taken = await users.select_by_email_key(db, email_key=emails.key(new_email)) is not None
        if is_taken:
            await self._record(audit._replace(detail="the address has an account: no link"), user)
        else:
            await self._send("email-change", user, EMAIL, new_email, audit)
        self._mail("email-change-notice", user, user.email, new_email=new_email)

    async def user_of(self, token: str, purpose: str) -> UserRow:
        """Return the account of a link that was not used yet. Raises `InvalidOneTimeToken`."""
        async with self._database.connection() as db:
            user_id = _SHAPE.fullmatch(token) and await one_time_tokens.select_user(
                db, token_hash=_hash(token), purpose=purpose
            )
            user = await users.select(db, user_id=user_id) if user_id else None
        if user is None:
            raise InvalidOneTimeToken
        return user

    async def reset_password(
        self, hasher: PasswordHasher, user: UserRow, token: str, new_password: str, audit: AuditEntry
    ) -> None:
        """Use a link for a new password; every session and personal access token of the account ends. The email is
        confirmed by it too, if the link was sent there.

        Raises:
            InvalidOneTimeToken: The link was used, has expired, or is void.
            Overloaded: The queue of hashes is full.
        """
        hashed = await hasher.hash(new_password)
        async with self._database.transaction() as db:
            locked, used = await _use(db, user.id, token)
            assert locked.password_hash is not None
            await users.update_password(db, user_id=user.id, old=locked.password_hash, new=hashed)
            if used.new_email is not None:
                await users.update_email_verified(db, user_id=user.id)
            await refresh_tokens.delete_others(db, user_id=user.id, family_id=None)
            await personal_tokens.delete_of_user(db, user_id=user.id)
            await audit_log.insert(db, audit._replace(actor_id=user.id), subject_id=user.id)
        log.info("password_reset", user_id=user.id)

    async def verify_email(self, token: str, audit: AuditEntry) -> None:
        """Use a link that confirms an address, which is the account's from now on.

        Raises:
            InvalidOneTimeToken: The link was used, has expired, or is void.
            asyncpg.UniqueViolationError: Another account has taken the address meanwhile (`account_emails_pkey`).
        """
        user = await self.user_of(token, EMAIL)
        async with self._database.transaction() as db:
            locked, used = await _use(db, user.id, token)
            is_change = used.new_email is not None and used.new_email != locked.email
            if used.new_email is not None and is_change:
                key = emails.key(used.new_email)
                await users.update_email(db, user_id=user.id, email=used.new_email, email_key=key)
            await users.update_email_verified(db, user_id=user.id)
            entry = audit._replace(actor_id=user.id, action="email_changed" if is_change else "email_verified")
            await audit_log.insert(db, entry, subject_id=user.id)
        log.info(entry.action, user_id=user.id)

    async def _send(
        self, kind: str, user: UserRow, purpose: str, to: str, audit: AuditEntry, *, is_bounded: bool = True
    ) -> None:
        url = self._urls[purpose]
        assert url is not None
        if is_bounded and await self._has_enough(user, purpose):
            log.warning("mail_withheld", kind=kind, user_id=user.id, detail=f"{MAX_LINKS} were sent in half an hour")
            await self._record(audit._replace(detail="withheld: too many links in half an hour"), user)
            return
        async with self._database.transaction() as db:
            token = await make_token(db, user, purpose, sent_to=to)
            await audit_log.insert(db, audit, subject_id=user.id)
        self._mail(kind, user, to, link=url.replace(PLACE, token), valid_for=VALID_FOR[purpose])

    async def _has_enough(self, user: UserRow, purpose: str) -> bool:
        async with self._database.connection() as db:
            recent = await one_time_tokens.count(
                db,
                user_id=user.id,
                purpose=purpose,
                basis=_basis(user),
                seconds_left=SECONDS[purpose] - PERIOD,
            )
        return recent >= MAX_LINKS

    async def _record(self, audit: AuditEntry, user: UserRow) -> None:
        async with self._database.connection() as db:
            await audit_log.insert(db, audit, subject_id=user.id)

    def _mail(self, kind: str, user: UserRow, to: str, link: str | None = None, **values: str) -> None:
        assert self._mailer is not None
        self._mailer.send(self._templates.mail(kind, user_id=user.id, to=to, link=link, **values))


async def make_token(db: Connection, user: UserRow, purpose: str, *, sent_to: str | None = None) -> str:
    """Return the token of a new link. Its use confirms the address that it is sent to, if it is sent."""
    token = secrets.token_urlsafe(32)
    await one_time_tokens.insert(
        db,
        user_id=user.id,
        token_hash=_hash(token),
        purpose=purpose,
        basis=_basis(user),
        seconds=SECONDS[purpose],
        new_email=sent_to,
    )
    return token


async def _use(db: Connection, user_id: str, token: str) -> tuple[UserRow, UsedToken]:
    """Use a link: of several uses at once the first gets it, the others wait for the account's row. Every other link of
    the account is void from then on.
    """
    user = await users.lock(db, user_id=user_id)
    used = await one_time_tokens.delete(db, user_id=user_id, token_hash=_hash(token))
    if user is None or used is None or not user.is_active or used.basis != _basis(user):
        raise InvalidOneTimeToken
    await one_time_tokens.delete_of_user(db, user_id=user_id)
    return user, used


def _basis(user: UserRow) -> bytes:
    return hashlib.sha256(f"{user.email}\0{user.password_hash}".encode()).digest()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


RECOVERY = web.AppKey("recovery", Recovery)
