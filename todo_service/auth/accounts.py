"""Accounts in the hands of their users: password change and deletion."""

from uuid import UUID

import structlog

from todo_service.auth.caller import Caller, Kind
from todo_service.auth.passwords import PasswordHasher
from todo_service.errors import LastAdmin, Overloaded, Unauthenticated, WrongPassword
from todo_service.postgres.connection import Connection
from todo_service.postgres.database import Database
from todo_service.queries import audit_log, clocks, refresh_tokens, users
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.users import UserRow

GONE = "The account of this token is gone. Sign in again."

log = structlog.get_logger()


async def read(database: Database, user_id: str) -> UserRow:
    """Return the account. Raises `Unauthenticated` if it is gone."""
    async with database.connection() as db:
        user = await users.select(db, user_id=user_id)
    if user is None:
        raise Unauthenticated(GONE)
    return user


async def change_password(
    database: Database,
    hasher: PasswordHasher,
    user: UserRow,
    *,
    session_id: UUID,
    current: str,
    new: str,
    audit: AuditEntry,
) -> None:
    """Change the password, and end every other session and every access token. Raises `WrongPassword`, `Overloaded`."""
    stored = await confirm(database, hasher, user, current, audit)
    hashed = await hasher.hash(new)
    async with database.transaction() as db:
        if not await users.update_password(db, user_id=user.id, old=stored, new=hashed):
            raise WrongPassword
        await refresh_tokens.delete_others(db, user_id=user.id, family_id=session_id)
        await audit_log.insert(db, audit, subject_id=user.id)
    log.info("password_changed", user_id=user.id)


async def delete(
    database: Database, hasher: PasswordHasher, user: UserRow, *, password: str, audit: AuditEntry
) -> None:
    """Delete the account and all its data; only a line in the audit log remains.

    Raises:
        WrongPassword: The password is wrong.
        LastAdmin: The account is the only active administrator.
        Overloaded: The queue of checks is full.
    """
    stored = await confirm(database, hasher, user, password, audit)
    async with database.transaction() as db:
        await lock_leaving(db, user.id)
        if not await users.delete(db, user_id=user.id, password_hash=stored):
            raise WrongPassword
        await audit_log.insert(db, audit, subject_id=user.id)
    log.info("account_deleted", user_id=user.id)


async def confirm(database: Database, hasher: PasswordHasher, user: UserRow, password: str, audit: AuditEntry) -> str:
    """Return the stored hash if the password matches it; a wrong one is recorded as the failure of this act.

    Raises:
        WrongPassword: It does not match.
        Overloaded: The queue of checks is full.
    """
    if not await hasher.check(password, user.password_hash) or user.password_hash is None:
        log.info("password_refused", user_id=user.id)
        failure = audit._replace(action="password_refused", detail=audit.action)
        async with database.connection() as db:
            await audit_log.insert(db, failure, subject_id=user.id)
        raise WrongPassword("The password is wrong. Check it and try again.")
    return user.password_hash


async def lock_leaving(db: Connection, user_id: str) -> UserRow | None:
    """Lock a user before deletion, demotion or deactivation, until the transaction ends; None if there is none.

    Raises:
        LastAdmin: The user is the only active administrator.
    """
    user = await users.lock(db, user_id=user_id)
    is_admin = user is not None and user.role == "admin" and user.is_active and user.password_hash is not None
    if is_admin and not await users.has_other_admin(db, user_id=user_id):
        raise LastAdmin
    return user


async def lock_tasks(db: Connection, caller: Caller) -> int:
    """Lock the caller's tasks until the transaction ends, and return their version. A caller from elsewhere gets a row
    with the first of them.

    Raises:
        Unauthenticated: The account is gone; it is not created again.
    """
    version = await clocks.lock(db, owner_id=caller.user_id)
    if version is None:
        await make_owner(db, caller)
        version = await clocks.lock(db, owner_id=caller.user_id)
    if version is None:
        raise Overloaded  # deleted again at once: the next try is sound
    return version


async def make_owner(db: Connection, caller: Caller) -> None:
    """Make a row for a caller that has none, with a change counter.

    Raises:
        Unauthenticated: The account is gone; it is not created again.
    """
    if caller.kind in (Kind.ACCOUNT, Kind.TOKEN):
        raise Unauthenticated(GONE)
    await users.insert_newcomer(db, user_id=caller.user_id, email=caller.email)
