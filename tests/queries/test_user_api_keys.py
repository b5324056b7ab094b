"""API keys in the database: each user's own, replaced as a whole, renewed only if nobody was quicker."""

import pytest
from asyncpg import CheckViolationError, ForeignKeyViolationError

from tests.queries.test_changes import new_user
from todo_service.postgres.connection import Connection
from todo_service.queries import user_api_keys
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.user_api_keys import ApiKeyRow

ACT = AuditEntry("api_key_read", "service", "request-1", "gemini")


async def keep(db: Connection, owner_id: str, ciphertext: str, status: str = "valid") -> None:
    await user_api_keys.upsert(
        db, owner_id=owner_id, provider="gemini", ciphertext=ciphertext, validation_status=status
    )


async def kept(db: Connection, owner_id: str) -> ApiKeyRow | None:
    return await user_api_keys.select(db, owner_id=owner_id, provider="gemini")


async def test_nobody_else_reads_or_deletes_it(db: Connection) -> None:
    ada, bob = await new_user(db), await new_user(db)
    await keep(db, ada, "of ada")
    assert await kept(db, bob) is None
    assert await user_api_keys.select_audited(db, ACT, owner_id=bob, provider="gemini") is None
    assert not await user_api_keys.delete(db, owner_id=bob, provider="gemini")
    assert not await user_api_keys.delete(db, owner_id=ada, provider="other")
    row = await kept(db, ada)
    assert row
    assert (row.user_id, row.ciphertext, "of ada" in repr(row)) == (ada, "of ada", False)
    assert await user_api_keys.delete(db, owner_id=ada, provider="gemini")
    assert await kept(db, ada) is None


async def test_who_is_gone_keeps_nothing(db: Connection) -> None:
    with pytest.raises(ForeignKeyViolationError):
        await keep(db, "nobody", "x")


async def test_only_what_was_found_is_audited(db: Connection) -> None:
    ada = await new_user(db)
    for count in (0, 1, 2):
        assert await db.fetchval("SELECT count(*) FROM audit_log WHERE subject_id = $1", ada) == count
        await keep(db, ada, "of ada")
        await user_api_keys.select_audited(db, ACT, owner_id=ada, provider="gemini")


async def test_a_key_that_was_replaced_meanwhile_is_not_overwritten(db: Connection) -> None:
    ada = await new_user(db)
    await keep(db, ada, "first")
    read = await kept(db, ada)
    assert read
    await keep(db, ada, "second")
    assert not await user_api_keys.update_ciphertext(db, read, ciphertext="renewed first")
    now = await kept(db, ada)
    assert now
    assert now.ciphertext == "second"
    assert await user_api_keys.update_ciphertext(db, now, ciphertext="renewed second")
    await user_api_keys.delete(db, owner_id=ada, provider="gemini")
    assert not await user_api_keys.update_ciphertext(db, now, ciphertext="from the dead")
    assert await kept(db, ada) is None


async def test_only_good_keys_are_kept(db: Connection) -> None:
    ada = await new_user(db)
    await keep(db, ada, "x", "quota_exceeded")
    with pytest.raises(CheckViolationError):
        await keep(db, ada, "x", "invalid")


async def test_pages_have_every_row_once(db: Connection) -> None:
    users = [await new_user(db) for _ in range(7)]
    for user in users:
        await keep(db, user, "x")
    found, after = [], ("", "")
    while rows := await user_api_keys.select_page_any_owner(db, after=after, at_most=3):
        found += [row.user_id for row in rows]
        after = (rows[-1].user_id, rows[-1].provider)
    assert [user_id for user_id in found if user_id in users] == sorted(users)
    assert len(found) == len(set(found)) == await user_api_keys.count_any_owner(db)
