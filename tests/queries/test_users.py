"""The statements on users."""

import asyncpg
import pytest

from todo_service.postgres.connection import Connection
from todo_service.queries import clocks, users
from todo_service.queries.users import UserRow


async def insert(db: Connection, user_id: str, email: str) -> UserRow:
    return await users.insert(
        db, user_id=user_id, email=email, email_key=email.lower(), password_hash="hash", full_name="Ada"
    )


async def test_insert_makes_the_account_and_its_clock(db: Connection) -> None:
    row = await insert(db, "u1", "Ada@example.com")
    assert (row.id, row.email, row.full_name, row.role, row.is_active) == ("u1", "Ada@example.com", "Ada", "user", True)
    assert await clocks.select_version(db, owner_id="u1") == 0
    assert "hash" not in repr(row)


async def test_insert_refuses_a_second_account_with_the_email(db: Connection) -> None:
    await insert(db, "u1", "ada@example.com")
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await insert(db, "u2", "ADA@example.com")
    assert refused.value.constraint_name == "account_emails_pkey"


async def test_select_by_id_and_by_email(db: Connection) -> None:
    row = await insert(db, "u1", "ada@example.com")
    assert await users.select(db, user_id="u1") == row
    assert await users.select(db, user_id="u2") is None
    assert await users.select_by_email_key(db, email_key="ada@example.com") == row
    assert await users.select_by_email_key(db, email_key="bob@example.com") is None


async def test_update_password_hash_only_replaces_the_one_it_knew(db: Connection) -> None:
    await insert(db, "u1", "ada@example.com")
    await users.update_password_hash(db, user_id="u1", old="other", new="lost")
    await users.update_password_hash(db, user_id="u1", old="hash", new="stronger")
    row = await users.select(db, user_id="u1")
    assert row is not None
    assert row.password_hash == "stronger"
