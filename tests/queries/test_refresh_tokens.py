"""The statements on refresh tokens."""

from uuid import UUID, uuid4

import pytest_asyncio

from todo_service.postgres.connection import Connection
from todo_service.queries import refresh_tokens, users
from todo_service.queries.refresh_tokens import Rotation
from todo_service.queries.users import UserRow

FIRST, SECOND, THIRD = (bytes([n]) * 32 for n in range(3))
FAMILY = uuid4()


@pytest_asyncio.fixture
async def ada(db: Connection) -> UserRow:
    """A user with one session, whose token is FIRST."""
    user = await users.insert(
        db, user_id="ada", email="ada@example.com", email_key="ada@example.com", password_hash="x", full_name=None
    )
    assert await begin(db, FIRST, FAMILY)
    return user


async def begin(db: Connection, token_hash: bytes, family: UUID, *, generation: int = 1, lifetime: int = 60) -> bool:
    return await refresh_tokens.insert(
        db, token_hash=token_hash, user_id="ada", family_id=family, lifetime=lifetime, generation=generation
    )


async def rotate(db: Connection, token: bytes, successor: bytes, *, reuse_seconds: float = 15) -> Rotation | None:
    return await refresh_tokens.rotate(
        db,
        user_id="ada",
        token_hash=token,
        successor=successor,
        possible_successors=[successor],
        reuse_seconds=reuse_seconds,
    )


async def family_of(db: Connection, token: bytes) -> UUID | None:
    return await refresh_tokens.select_family(db, token_hash=token, user_id="ada")


async def test_a_token_is_rotated_once_and_found_again_within_the_window(db: Connection, ada: UserRow) -> None:
    first = await rotate(db, FIRST, SECOND)
    assert first == Rotation(FAMILY, SECOND, ada)
    assert await rotate(db, FIRST, SECOND) == first
    assert await rotate(db, SECOND, THIRD) == Rotation(FAMILY, THIRD, ada)


async def test_after_the_window_there_is_no_successor(db: Connection, ada: UserRow) -> None:
    await rotate(db, FIRST, SECOND)
    assert await rotate(db, FIRST, SECOND, reuse_seconds=0) == Rotation(FAMILY, None, ada)


async def test_the_successor_made_under_another_key_is_found(db: Connection, ada: UserRow) -> None:
    await rotate(db, FIRST, SECOND)
    again = await refresh_tokens.rotate(
        db, user_id="ada", token_hash=FIRST, successor=THIRD, possible_successors=[THIRD, SECOND], reuse_seconds=15
    )
    assert again == Rotation(FAMILY, SECOND, ada)


async def test_unknown_expired_and_inactive_are_nothing(db: Connection, ada: UserRow) -> None:
    assert await rotate(db, SECOND, THIRD) is None
    assert await begin(db, SECOND, uuid4(), lifetime=-1)
    assert await rotate(db, SECOND, THIRD) is None
    await db.execute("UPDATE users SET is_active = false WHERE id = 'ada'")
    assert await rotate(db, FIRST, THIRD) is None
    assert not await begin(db, THIRD, uuid4())


async def test_a_token_is_its_users_alone(db: Connection, ada: UserRow) -> None:
    for user_id in ("bob", ""):
        assert await refresh_tokens.select_family(db, token_hash=FIRST, user_id=user_id) is None
        again = await refresh_tokens.rotate(
            db, user_id=user_id, token_hash=FIRST, successor=THIRD, possible_successors=[THIRD], reuse_seconds=15
        )
        assert again is None
    assert await refresh_tokens.select_user(db, token_hash=FIRST) == "ada"
    assert await refresh_tokens.select_user(db, token_hash=SECOND) is None


async def test_the_end_of_a_family_does_not_move(db: Connection, ada: UserRow) -> None:
    await rotate(db, FIRST, SECOND)
    assert await db.fetchval("SELECT count(DISTINCT expires_at) FROM refresh_tokens WHERE user_id = 'ada'") == 1


async def test_a_session_does_not_begin_under_a_generation_that_has_ended(db: Connection, ada: UserRow) -> None:
    await users.raise_generation(db, user_id="ada")
    assert not await begin(db, SECOND, uuid4(), generation=1)
    assert await begin(db, SECOND, uuid4(), generation=2)


async def test_one_family_all_others_or_all_are_deleted(db: Connection, ada: UserRow) -> None:
    other = uuid4()
    await begin(db, SECOND, other)
    await refresh_tokens.delete_family(db, user_id="bob", family_id=FAMILY)
    assert await family_of(db, FIRST) == FAMILY
    await refresh_tokens.delete_others(db, user_id="ada", family_id=other)
    assert await family_of(db, FIRST) is None
    await begin(db, FIRST, FAMILY)
    await refresh_tokens.delete_family(db, user_id="ada", family_id=FAMILY)
    assert await family_of(db, SECOND) == other
    await refresh_tokens.delete_others(db, user_id="ada", family_id=None)
    assert await family_of(db, SECOND) is None
