"""Registration, and sign-in with email and password."""

from collections.abc import Awaitable, Callable

import structlog
import uuid_utils

from todo_service.auth.audit import ANONYMOUS, UNKNOWN
from todo_service.auth.passwords import PasswordHasher
from todo_service.errors import AccountInactive, EmailAlreadyRegistered, EmailNotVerified, WrongPassword
from todo_service.observability.request_record import act_for
from todo_service.postgres.database import Database
from todo_service.queries import audit_log, users
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.users import UserRow

log = structlog.get_logger()


async def register(
    database: Database,
    hasher: PasswordHasher,
    *,
    email: str,
    email_key: str,
    password: str,
    full_name: str | None,
    audit: AuditEntry,
) -> UserRow:
    """Create an account. The database is queried first, so that its absence does not cost a hash.

    Raises:
        EmailAlreadyRegistered: The email has an account; of several at once all but one violate its constraint.
        Overloaded: The queue of hashes is full.
    """
    async with database.connection() as db:
        if await users.select_by_email_key(db, email_key=email_key):
            raise EmailAlreadyRegistered
    password_hash = await hasher.hash(password)
    user_id = str(uuid_utils.uuid7())
    act_for(user_id)  # its change counter is made with it
    async with database.transaction() as db:
        user = await users.insert(
            db,
            user_id=user_id,
            email=email,
            email_key=email_key,
            password_hash=password_hash,
            full_name=full_name,
        )
        actor_id = user.id if audit.actor_id == ANONYMOUS else audit.actor_id
        await audit_log.insert(db, audit._replace(actor_id=actor_id), subject_id=user.id)
    log.info("registered", user_id=user.id)
    return user


async def sign_in(
    database: Database,
    hasher: PasswordHasher,
    *,
    email_key: str,
    password: str,
    audit: AuditEntry,
    on_unverified: Callable[[UserRow], Awaitable[None]] | None = None,
) -> UserRow:
    """Return the account with this email and password; an unknown email takes the time of a wrong password.

    Failures are recorded here, the success with the session that it starts.

    Args:
        on_unverified: Called before an account whose email is not confirmed is refused; None lets it in.

    Raises:
        WrongPassword: The email is unknown or the password is wrong.
        AccountInactive: The password is right and the account is deactivated.
        EmailNotVerified: The password is right and the email is not confirmed.
        Overloaded: The queue of checks is full.
    """
    async with database.connection() as db:
        user = await users.select_by_email_key(db, email_key=email_key)
    stored = user.password_hash if user else None
    if not await hasher.check(password, stored) or user is None:
        log.info("sign_in_failed", user_id=user.id if user else None)
        await _record_failure(database, audit, user, "wrong password" if user else "unknown email")
        raise WrongPassword
    if not user.is_active:
        log.info("sign_in_inactive", user_id=user.id)
        await _record_failure(database, audit, user, "deactivated")
        raise AccountInactive
    if on_unverified is not None and not user.email_verified:
        log.info("sign_in_unverified", user_id=user.id)
        await _record_failure(database, audit, user, "email not confirmed")
        await on_unverified(user)
        raise EmailNotVerified
    await _rehash_if_weak(database, hasher, user, password)
    log.info("signed_in", user_id=user.id)
    return user


async def _record_failure(database: Database, audit: AuditEntry, user: UserRow | None, reason: str) -> None:
    failure = audit._replace(action="sign_in_failed", detail=reason)
    async with database.connection() as db:
        await audit_log.insert(db, failure, subject_id=user.id if user else UNKNOWN)


async def _rehash_if_weak(database: Database, hasher: PasswordHasher, user: UserRow, password: str) -> None:
    if user.password_hash is None or not hasher.is_weak(user.password_hash):
        return
    try:
        stronger = await hasher.hash(password)
        async with database.connection() as db:
            await users.update_password_hash(db, user_id=user.id, old=user.password_hash, new=stronger)
    except Exception as error:  # the sign-in itself has succeeded; the next one tries again
        log.warning("rehash_postponed", user_id=user.id, reason=type(error).__name__)
