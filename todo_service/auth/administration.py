"""Accounts in the hands of administrators. Every act is in the audit log, written by the transaction that does it."""

import structlog

from todo_service.auth.accounts import refuse_last_admin
from todo_service.auth.refresh_tokens import end_all
from todo_service.errors import AdminNeedsPassword, NoPasswordAccount, NotFound
from todo_service.postgres.database import Database
from todo_service.queries import audit_log, refresh_tokens, users
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.users import UserChanges, UserRow

NO_SUCH_USER = "There is no user with this id. Check the id; the account may have been deleted."

log = structlog.get_logger()


async def update(database: Database, user_id: str, changes: UserChanges, *, actor_id: str, request_id: str) -> UserRow:
    """Change role, activity or name. Another role or a deactivation ends the access tokens, the latter the sessions.

    Raises:
        NotFound: There is no such user.
        LastAdmin: The user is the only active administrator.
        AdminNeedsPassword: The user is one of an auth server and cannot act as an administrator.
    """
    async with database.transaction() as db:
        if changes.role == "user" or changes.is_active is False:
            await refuse_last_admin(db, user_id)
        before = await users.lock(db, user_id=user_id)
        if before is not None and before.password_hash is None and changes.role == "admin":
            raise AdminNeedsPassword
        after = await users.update(db, user_id=user_id, changes=changes)
        if before is None or after is None:
            raise NotFound(NO_SUCH_USER)
        if (before.role, before.is_active) != (after.role, after.is_active):
            await users.raise_generation(db, user_id=user_id)
        if not after.is_active:
            await refresh_tokens.delete_others(db, user_id=user_id, family_id=None)
        entry = AuditEntry("user_updated", actor_id, request_id, _difference(before, after))
        await audit_log.insert(db, entry, subject_id=user_id)
    log.info("user_updated", actor_id=actor_id, subject_id=user_id, role=after.role, is_active=after.is_active)
    return after


async def delete(database: Database, user_id: str, *, actor_id: str, request_id: str) -> None:
    """Delete an account with all its data. Raises `NotFound`, `LastAdmin`."""
    async with database.transaction() as db:
        await refuse_last_admin(db, user_id)
        if not await users.delete_any(db, user_id=user_id):
            raise NotFound(NO_SUCH_USER)
        await audit_log.insert(db, AuditEntry("account_deleted", actor_id, request_id), subject_id=user_id)
    log.info("account_deleted", actor_id=actor_id, subject_id=user_id)


async def set_password(database: Database, user_id: str, password_hash: str, *, actor_id: str, request_id: str) -> None:
    """Set the password of an account, and end its sessions and access tokens.

    Raises:
        NotFound: There is no such user.
        NoPasswordAccount: The user has no password here.
    """
    async with database.transaction() as db:
        user = await users.lock(db, user_id=user_id)
        if user is None:
            raise NotFound(NO_SUCH_USER)
        if user.password_hash is None:
            raise NoPasswordAccount("This user signs in elsewhere and has no password here.")
        await users.update_password(db, user_id=user_id, old=user.password_hash, new=password_hash)
        await refresh_tokens.delete_others(db, user_id=user_id, family_id=None)
        await audit_log.insert(db, AuditEntry("password_set", actor_id, request_id), subject_id=user_id)
    log.info("password_set", actor_id=actor_id, subject_id=user_id)


async def end_sessions(database: Database, user_id: str, *, actor_id: str, request_id: str) -> None:
    """End every session and access token of a user. Raises `NotFound`."""
    async with database.transaction() as db:
        if await users.lock(db, user_id=user_id) is None:
            raise NotFound(NO_SUCH_USER)
        await end_all(db, user_id)
        await audit_log.insert(db, AuditEntry("sessions_ended", actor_id, request_id), subject_id=user_id)
    log.info("sessions_ended", actor_id=actor_id, subject_id=user_id)


def _difference(before: UserRow, after: UserRow) -> str:
    """Describe the change; a name is not repeated."""
    changes = [
        f"{field} {getattr(before, field)} -> {getattr(after, field)}"
        for field in ("role", "is_active")
        if getattr(before, field) != getattr(after, field)
    ]
    return ", ".join(changes + ["full_name"] * (before.full_name != after.full_name))
