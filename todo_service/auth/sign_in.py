"""Making an account and signing in to it with email and password."""

from collections.abc import Callable

import structlog
import uuid_utils
from aiohttp import web

from todo_service.auth.passwords import Passwords
from todo_service.errors import AccountInactive, EmailAlreadyRegistered, WrongPassword
from todo_service.postgres.pool import Database
from todo_service.queries import users
from todo_service.queries.users import UserRow

PASSWORDS = web.AppKey("passwords", Passwords)
log = structlog.get_logger()


async def register(
    database: Database,
    passwords: Passwords,
    *,
    email: str,
    email_key: str,
    password: str,
    full_name: str | None,
    wanted: Callable[[], bool],
) -> UserRow:
    """Make an account. Raises `EmailAlreadyRegistered` (or the violation of its constraint), or `Overloaded`.

    The database is asked first: if it is away, the caller learns that without waiting for a hash.
    """
    async with database.connection() as db:
        if await users.select_by_email_key(db, email_key=email_key):
            raise EmailAlreadyRegistered
    password_hash = await passwords.hash(password, wanted=wanted)
    async with database.connection() as db:
        user = await users.insert(
            db,
            user_id=str(uuid_utils.uuid7()),
            email=email,
            email_key=email_key,
            password_hash=password_hash,
            full_name=full_name,
        )
    log.info("registered", user_id=user.id)
    return user


async def sign_in(
    database: Database, passwords: Passwords, *, email_key: str, password: str, wanted: Callable[[], bool]
) -> UserRow:
    """The account of this email and password; an unknown email takes the time of a wrong password.

    Raises `WrongPassword`, `AccountInactive` (only to who knows the password) or `Overloaded`.
    """
    async with database.connection() as db:
        user = await users.select_by_email_key(db, email_key=email_key)
    stored = user.password_hash if user else None
    if not await passwords.check(password, stored, wanted=wanted) or user is None:
        log.info("sign_in_failed", user_id=user.id if user else None)
        raise WrongPassword
    if not user.is_active:
        log.info("sign_in_inactive", user_id=user.id)
        raise AccountInactive
    await _strengthen(database, passwords, user, password)
    log.info("signed_in", user_id=user.id)
    return user


async def _strengthen(database: Database, passwords: Passwords, user: UserRow, password: str) -> None:
    if user.password_hash is None or not passwords.is_weak(user.password_hash):
        return
    try:
        stronger = await passwords.hash(password)
        async with database.connection() as db:
            await users.update_password_hash(db, user_id=user.id, old=user.password_hash, new=stronger)
    except Exception as error:  # the sign-in itself has succeeded; the next one tries again
        log.warning("rehash_postponed", user_id=user.id, reason=type(error).__name__)
