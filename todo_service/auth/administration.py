"""Accounts in the hands of administrators. Every act is in the audit log, written by the transaction that does it."""

import structlog

from todo_service.auth.accounts import lock_leaving
from todo_service.auth.refresh_tokens import end_all
from todo_service.errors import AdminNeedsPassword, NoPasswordAccount, NotFound
from todo_service.postgres.database import Database
from todo_service.queries import audit_log, personal_tokens, refresh_tokens, standbys, users
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.users import UserChanges, UserRow

NO_SUCH_USER = "There is no user with this id. Check the id; the account may have been deleted."

log = structlog.get_logger()


async def update(database: Database, user_id: str, changes: UserChanges, audit: AuditEntry) -> UserRow:
    """Change role, activity or name. Another role or a deactivation ends the access tokens, the latter the sessions.

    Raises:
        NotFound: There is no such user.
        LastAdmin: The user is the only active administrator.
        AdminNeedsPassword: The user is one of an auth server and cannot act as an administrator.
    """
    async with database.transaction() as db:
        is_leaving = changes.role == "user" or changes.is_active is False
        before = await lock_leaving(db, user_id) if is_leaving else await users.lock(db, user_id=user_id)
        if before is not None and before.password_hash is None and changes.role == "admin":
            raise AdminNeedsPassword
        after = await users.update(db, user_id=user_id, changes=changes)
        if before is None or after is None:
            raise NotFound(NO_SUCH_USER)
        if (before.role, before.is_active) != (after.role, after.is_active):
            await users.raise_generation(db, user_id=user_id)
        if not after.is_active:
            await refresh_tokens.delete_others(db, user_id=user_id, family_id=None)
        await audit_log.insert(db, audit._replace(detail=_difference(before, after)), subject_id=user_id)
    log.info("user_updated", actor_id=audit.actor_id, subject_id=user_id, role=after.role, is_active=after.is_active)
    return after


async def delete(database: Database, user_id: str, audit: AuditEntry) -> None:
    """Delete an account with all its data.

    A deactivated user of an auth server stays in the list, without data, until an administrator activates and deletes
    it: tokens of that server are valid for weeks and would make an active user again.

    Raises:
        NotFound: There is no such user.
        LastAdmin: The user is the only active administrator.
    """
    async with database.transaction() as db:
        user = await lock_leaving(db, user_id)
        if user is None:
            await standbys.wait(db)  # it may have been deleted a moment ago
        else:
            await users.delete_any(db, user_id=user_id)
            stays = user.password_hash is None and not user.is_active
            if stays:
                await users.insert_inactive(db, user_id=user_id, created_at=user.created_at)
            action = "data_deleted" if stays else "account_deleted"
            await audit_log.insert(db, audit._replace(action=action), subject_id=user_id)
    if user is None:
        raise NotFound(NO_SUCH_USER)
    log.info(action, actor_id=audit.actor_id, subject_id=user_id)


async def set_password(database: Database, user_id: str, password_hash: str, audit: AuditEntry) -> None:
    """Set the password of an account, and end its sessions, access tokens and personal access tokens.

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
        await personal_tokens.delete_of_user(db, user_id=user_id)
        await audit_log.insert(db, audit, subject_id=user_id)
    log.info("password_set", actor_id=audit.actor_id, subject_id=user_id)


async def end_sessions(database: Database, user_id: str, audit: AuditEntry) -> None:
    """End every session, access token and personal access token of a user. Raises `NotFound`."""
    async with database.transaction() as db:
        if await users.lock(db, user_id=user_id) is None:
            raise NotFound(NO_SUCH_USER)
        await end_all(db, user_id)
        await personal_tokens.delete_of_user(db, user_id=user_id)
        await audit_log.insert(db, audit, subject_id=user_id)
    log.info("sessions_ended", actor_id=audit.actor_id, subject_id=user_id)


def _difference(before: UserRow, after: UserRow) -> str:
    """Describe the change; a name is not repeated."""
    changes = [
        f"{field} {getattr(before, field)} -> {getattr(after, field)}"
        for field in ("role", "is_active")
        if getattr(before, field) != getattr(after, field)
    ]
    return ", ".join(changes + ["full_name"] * (before.full_name != after.full_name))
