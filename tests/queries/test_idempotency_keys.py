"""The statements on idempotency keys."""

from tests.queries.test_changes import new_user
from todo_service.postgres.connection import Connection
from todo_service.queries import idempotency_keys
from todo_service.queries.idempotency_keys import Answer, Claim

ANSWER = Answer(201, "{}", b"made")


async def claim(db: Connection, user_id: str, fingerprint: bytes = b"f") -> Claim | None:
    return await idempotency_keys.claim(db, user_id=user_id, key="k", fingerprint=fingerprint)


async def test_a_key_is_claimed_once_and_then_has_its_answer(db: Connection) -> None:
    ada, bob = await new_user(db), await new_user(db)
    assert await claim(db, ada) == Claim(b"f", None)
    assert await idempotency_keys.store(db, user_id=ada, key="k", answer=ANSWER, at_most=4)
    assert await claim(db, ada, b"other") == Claim(b"f", ANSWER)
    assert await claim(db, bob, b"other") == Claim(b"other", None)
    assert not await idempotency_keys.store(db, user_id=bob, key="k", answer=ANSWER, at_most=3)


async def test_a_user_who_is_not_there_claims_nothing(db: Connection) -> None:
    assert await claim(db, "nobody") is None


async def test_a_key_of_a_day_ago_is_free_and_purged(db: Connection) -> None:
    ada, bob = await new_user(db), await new_user(db)
    for user_id in (ada, bob):
        await claim(db, user_id)
        await idempotency_keys.store(db, user_id=user_id, key="k", answer=ANSWER, at_most=4)
    await idempotency_keys.delete_expired(db, at_most=100_000)  # those of other tests
    past = "created_at = created_at - interval '25 hours'"
    await db.execute(f"UPDATE idempotency_keys SET {past} WHERE user_id = ANY ($1)", [ada, bob])
    assert await claim(db, ada, b"new") == Claim(b"new", None)
    assert [await idempotency_keys.delete_expired(db, at_most=10) for _ in range(2)] == [1, 0]
    assert await claim(db, bob, b"new") == Claim(b"new", None)
