"""What the holder of an account may do to it: another password, or an end."""

from collections.abc import Callable
from uuid import UUID

import structlog

from todo_service.auth.caller import Caller, Kind
from todo_service.auth.passwords import Passwords
from todo_service.errors import LastAdmin, Unauthenticated, WrongPassword
from todo_service.postgres.connector import Connection
from todo_service.postgres.pool import Database
from todo_service.queries import audit_log, clocks, refresh_tokens, users
from todo_service.queries.audit_log import Act
from todo_service.queries.users import UserRow

GONE = "The account of this token is gone. Sign in again."

log = structlog.get_logger()


async def read(database: Database, user_id: str) -> UserRow:
    """The account. Raises `Unauthenticated` if it is gone."""
    async with database.connection() as db:
        user = await users.select(db, user_id=user_id)
    if user is None:
        raise Unauthenticated(GONE)
    return user


async def change_password(
    database: Database,
    passwords: Passwords,
    user: UserRow,
    *,
    session_id: UUID,
    current: str,
    new: str,
    wanted: Callable[[], bool],
) -> None:
    """Change the password; every other session ends, and every access token. Raises `WrongPassword`, `Overloaded`."""
    stored = await _verified(passwords, user, current, wanted)
    hashed = await passwords.hash(new, wanted=wanted)
    async with database.transaction() as db:
        if not await users.update_password(db, user_id=user.id, old=stored, new=hashed):
            raise WrongPassword
        await refresh_tokens.delete_others(db, user_id=user.id, family_id=session_id)
    log.info("password_changed", user_id=user.id)


async def delete(
    database: Database,
    passwords: Passwords,
    user: UserRow,
    *,
    password: str,
    request_id: str,
    wanted: Callable[[], bool],
) -> None:
    """Delete the account and all its data; a line in the audit log is all that stays. Raises `WrongPassword`,
    `LastAdmin`, `Overloaded`.
    """
    stored = await _verified(passwords, user, password, wanted)
    async with database.transaction() as db:
        await refuse_last_admin(db, user.id)
        if not await users.delete(db, user_id=user.id, password_hash=stored):
            raise WrongPassword
        await audit_log.insert(db, Act("account_deleted", user.id, request_id), subject_id=user.id)
    log.info("account_deleted", user_id=user.id)


async def _verified(passwords: Passwords, user: UserRow, password: str, wanted: Callable[[], bool]) -> str:
    """The stored hash, if this is its password."""
    if not await passwords.check(password, user.password_hash, wanted=wanted) or user.password_hash is None:
        log.info("password_refused", user_id=user.id)
        raise WrongPassword("The password is wrong. Check it and try again.")
    return user.password_hash


async def refuse_last_admin(db: Connection, user_id: str) -> None:
    """Hold every active administrator as they are until the transaction ends; raise `LastAdmin` if it is this one."""
    if await users.lock_active_admins(db) == [user_id]:
        raise LastAdmin


async def hold_tasks(db: Connection, caller: Caller) -> None:
    """Let nobody else change the caller's tasks until the transaction ends. Whoever comes from elsewhere gets a row
    with the first of them. Raises `Unauthenticated` for an account that is gone: it stays gone.
    """
    if await clocks.lock(db, owner_id=caller.user_id) is not None:
        return
    if caller.kind is Kind.ACCOUNT:
        raise Unauthenticated(GONE)
    await clocks.lock_first(db, owner_id=caller.user_id, email=caller.email)
