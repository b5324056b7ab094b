"""The feed of ended access tokens: read by one query, kept while the database is away, forgotten in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import jwt
import pytest

from tests.client import PASSWORD, Api, User
from tests.conftest import make_settings, run_sql, running_service
from todo_service.auth import administration, revocations
from todo_service.auth.revocations import Revocations
from todo_service.auth.token_cache import TokenCache
from todo_service.config.database_options import database_options
from todo_service.errors import DatabaseUnavailable
from todo_service.postgres.database import Database
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.users import UserChanges

LIFETIME = 3600


@asynccontextmanager
async def feed(database_url: str) -> AsyncIterator[Revocations]:
    database = Database(database_options(make_settings(database_url)))
    await database.open()
    try:
        yield Revocations(database, lifetime=LIFETIME, caches=[TokenCache()])
    finally:
        await database.close()


async def raise_generation(database_url: str, user: User, *, at: str = "now()") -> None:
    await run_sql(
        database_url, f"UPDATE users SET generation = generation + 1, revoked_at = {at} WHERE id = '{user.id}'"
    )


async def test_an_event_ends_older_generations_alone(database_url: str, ada: User, bob: User) -> None:
    async with feed(database_url) as known:
        await known.poll()
        assert known.is_valid(ada.id, 1)
        await raise_generation(database_url, ada)
        assert known.is_valid(ada.id, 1), "not noticed yet"
        await known.poll()
        assert (known.is_valid(ada.id, 1), known.is_valid(ada.id, 2)) == (False, True)
        assert known.is_valid(bob.id, 1)
        await raise_generation(database_url, ada)
        await known.poll()
        assert (known.is_valid(ada.id, 2), known.is_valid(ada.id, 3)) == (False, True)


async def test_an_inactive_account_has_no_good_generation(database_url: str, ada: User) -> None:
    async with feed(database_url) as known:
        await run_sql(database_url, f"UPDATE users SET is_active = false, revoked_at = now() WHERE id = '{ada.id}'")
        await known.load()
        assert not known.is_valid(ada.id, 1)
        await run_sql(database_url, f"UPDATE users SET is_active = true, revoked_at = now() WHERE id = '{ada.id}'")
        await known.poll()
        assert known.is_valid(ada.id, 1)


async def test_an_account_that_is_active_again_has_good_tokens_before_that_is_known(
    api: Api, database_url: str
) -> None:
    user = await api.new_user()
    async with feed(database_url) as known:
        for is_active in (False, True):
            await administration.update(
                known._database, user.id, UserChanges(is_active=is_active), AuditEntry("user_updated", "a test", "r")
            )
            if not is_active:
                await known.load()
                assert not known.is_valid(user.id, 1)
        again = await api.post("/api/v1/auth/login", {"email": user.email, "password": PASSWORD})
        payload = jwt.decode(again.body["access_token"], options={"verify_signature": False})
        assert known.is_valid(user.id, payload["gen"]), "it does not know yet"
        assert not known.is_valid(user.id, 1)


async def test_a_deleted_account_has_no_good_generation(api: Api, database_url: str) -> None:
    user = await api.new_user()
    async with feed(database_url) as known:
        await administration.delete(known._database, user.id, AuditEntry("account_deleted", "a test", "r"))
        await known.load()
        assert not known.is_valid(user.id, 1)
        assert not known.is_valid(user.id, 99)


async def test_what_others_issued_has_no_generation(database_url: str, ada: User, bob: User) -> None:
    await raise_generation(database_url, ada)
    async with feed(database_url) as known:
        await known.load()
        assert known.is_valid(ada.id, None)
        assert known.is_valid("nobody", None)
        await run_sql(database_url, f"UPDATE users SET is_active = false, revoked_at = now() WHERE id = '{bob.id}'")
        await known.poll()
        assert not known.is_valid(bob.id, None)


async def test_users_whom_no_token_can_name_any_more_are_not_held(database_url: str, bob: User) -> None:
    async with feed(database_url) as known:
        for revoked_at in (f"now() - interval '{LIFETIME * 100} s'", "NULL"):
            await run_sql(
                database_url, f"UPDATE users SET is_active = false, revoked_at = {revoked_at} WHERE id = '{bob.id}'"
            )
            await known.load()
            assert bob.id not in known._revoked


async def test_a_start_reads_the_life_of_a_token_and_no_more(database_url: str, ada: User, bob: User) -> None:
    await raise_generation(database_url, ada, at=f"now() - interval '{LIFETIME - 60} s'")
    await raise_generation(database_url, bob, at=f"now() - interval '{LIFETIME + 60} s'")
    async with feed(database_url) as known:
        await known.load()
        assert (known.is_valid(ada.id, 1), known.is_valid(bob.id, 1)) == (False, True)


async def test_what_commits_late_is_read_all_the_same(database_url: str, ada: User) -> None:
    """A transaction that stamped its event before a poll and commits after it."""
    writer = await asyncpg.connect(database_url)
    async with feed(database_url) as known:
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("UPDATE users SET generation = 2, revoked_at = clock_timestamp() WHERE id = $1", ada.id)
        await asyncio.sleep(0.05)
        await known.poll()
        assert known.is_valid(ada.id, 1)
        await transaction.commit()
        await known.poll()
        assert not known.is_valid(ada.id, 1)
    await writer.close()


async def test_the_last_known_state_holds_while_the_database_is_away(
    database_url: str, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "POLL_SECONDS", 0.02)
    await raise_generation(database_url, ada)
    database = Database(database_options(make_settings(database_url)))
    known = Revocations(database, lifetime=LIFETIME, caches=[TokenCache()])
    following = asyncio.create_task(known.follow())  # the pool is not open yet: the database is away
    await asyncio.sleep(0.1)
    await database.open()
    async with asyncio.timeout(5):
        while not known.is_loaded or known.is_valid(ada.id, 1):
            await asyncio.sleep(0.02)
    await database.close()
    await asyncio.sleep(0.1)
    assert not following.done()
    assert not known.is_valid(ada.id, 1)
    following.cancel()


async def test_nothing_holds_before_it_is_known_what_has_ended(database_url: str, ada: User) -> None:
    async with feed(database_url) as known:
        assert not known.is_loaded
        for generation in (1, None):
            with pytest.raises(DatabaseUnavailable):
                known.is_valid(ada.id, generation)
        await known.open()
        assert known.is_valid(ada.id, 1)


async def test_a_service_that_cannot_read_it_takes_no_token_and_is_not_ready(database_url: str) -> None:
    async with running_service(make_settings(database_url)) as api:
        ada = await api.new_user()
        await api.post("/api/v1/auth/logout", {"everywhere": True}, as_=ada)
    db = await asyncpg.connect(database_url)
    lock = db.transaction()
    await lock.start()
    await db.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    try:
        async with running_service(make_settings(database_url)) as api:
            ready = await api.get("/health/ready")
            assert (ready.status, ready.body["reason"]) == (503, "the revoked tokens have not been read yet")
            refused = await api.post("/api/v1/tasks", {"title": "no"}, as_=ada)
            assert (refused.status, refused.problem()) == (503, "database-unavailable")
            await lock.rollback()
            async with asyncio.timeout(10):
                while (await api.get("/health/ready")).status != 200:
                    await asyncio.sleep(0.1)
            assert (await api.post("/api/v1/tasks", {"title": "no"}, as_=ada)).problem() == "unauthenticated"
    finally:
        await db.close()


async def test_a_fresh_service_refuses_what_ended_before_it_began(database_url: str) -> None:
    async with running_service(make_settings(database_url)) as api:
        ada = await api.new_user()
        await api.post("/api/v1/auth/logout", {"everywhere": True}, as_=ada)
    for _ in range(3):
        async with running_service(make_settings(database_url)) as api:
            assert (await api.get("/api/v1/tasks", as_=ada)).status == 401


async def test_the_feed_does_not_queue_behind_requests(database_url: str, ada: User) -> None:
    database = Database(database_options(make_settings(database_url, database_pool_max=1)))
    await database.open()
    known = Revocations(database, lifetime=LIFETIME, caches=[TokenCache()])
    try:
        async with database.connection():  # the only one
            waiting = asyncio.create_task(_ping(database))
            await asyncio.sleep(0.05)
            await asyncio.wait_for(known.load(), 0.9)
            assert known.is_valid(ada.id, 1)
            assert not waiting.done()
        await waiting
        await asyncio.wait_for(_ping(database), 1)
    finally:
        await database.close()


async def _ping(database: Database) -> None:
    async with database.connection() as db:
        await db.execute("SELECT 1")


async def test_no_request_asks_for_it(api: Api, ada: User, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert (await api.get("/api/v1/tasks", as_=ada)).status == 200
    assert "statements=1 " in capfd.readouterr().out
