"""Accounts in the hands of their users: password change and deletion."""

from uuid import UUID

import structlog

from todo_service.auth.caller import Caller, Kind
from todo_service.auth.passwords import PasswordHasher
from todo_service.errors import LastAdmin, Unauthenticated, WrongPassword
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
    database: Database, hasher: PasswordHasher, user: UserRow, *, session_id: UUID, current: str, new: str
) -> None:
    """Change the password, and end every other session and every access token. Raises `WrongPassword`, `Overloaded`."""
    stored = await _confirm(hasher, user, current)
    hashed = await hasher.hash(new)
    async with database.transaction() as db:
        if not await users.update_password(db, user_id=user.id, old=stored, new=hashed):
            raise WrongPassword
        await refresh_tokens.delete_others(db, user_id=user.id, family_id=session_id)
    log.info("password_changed", user_id=user.id)


async def delete(database: Database, hasher: PasswordHasher, user: UserRow, *, password: str, request_id: str) -> None:
    """Delete the account and all its data; only a line in the audit log remains.

    Raises:
        WrongPassword: The password is wrong.
        LastAdmin: The account is the only active administrator.
        Overloaded: The queue of checks is full.
    """
    stored = await _confirm(hasher, user, password)
    async with database.transaction() as db:
        await refuse_last_admin(db, user.id)
        if not await users.delete(db, user_id=user.id, password_hash=stored):
            raise WrongPassword
        await audit_log.insert(db, AuditEntry("account_deleted", user.id, request_id), subject_id=user.id)
    log.info("account_deleted", user_id=user.id)


async def _confirm(hasher: PasswordHasher, user: UserRow, password: str) -> str:
    """Return the stored hash if the password matches it."""
    if not await hasher.check(password, user.password_hash) or user.password_hash is None:
        log.info("password_refused", user_id=user.id)
        raise WrongPassword("The password is wrong. Check it and try again.")
    return user.password_hash


async def refuse_last_admin(db: Connection, user_id: str) -> None:
    """Lock every active administrator until the transaction ends; raise `LastAdmin` if this is the only one."""
    if await users.lock_active_admins(db) == [user_id]:
        raise LastAdmin


async def lock_tasks(db: Connection, caller: Caller) -> None:
    """Lock the caller's tasks until the transaction ends. A caller from elsewhere gets a row with the first of them.

    Raises:
        Unauthenticated: The account is gone; it is not created again.
    """
    if await clocks.lock(db, owner_id=caller.user_id) is not None:
        return
    if caller.kind is Kind.ACCOUNT:
        raise Unauthenticated(GONE)
    await clocks.lock_first(db, owner_id=caller.user_id, email=caller.email)
