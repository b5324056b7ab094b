"""`bin/purge`: what has expired goes, what holds stays, also with two at once and with rows that are in use."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from tests.commands.test_users import run
from tests.conftest import run_sql, template_name, temporary_database
from tests.queries.test_changes import new_user
from tests.queries.test_expired_changes import bury, left
from tests.queries.test_tasks import add
from tests.routes.test_sessions import rows
from todo_service.queries import idempotency_keys, tasks
from todo_service.queries.task_changes import Origin
from todo_service.queries.task_rows import Changes

NOTHING = "0 expired refresh tokens deleted\n0 tombstones of tasks deleted\n"
NOTHING += "0 past versions of tasks deleted\n0 ended sessions deleted\n"
NOTHING += "0 expired links deleted\n0 expired personal tokens deleted\n"
NOTHING += "0 idempotency keys deleted\n0 audit log entries deleted\n"


@pytest_asyncio.fixture
async def own_url(postgres_url: str) -> AsyncIterator[str]:
    """A database where nothing else expires."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        yield url


async def remember(url: str, user_id: str, *, count: int, hours: float) -> None:
    """Idempotency keys so many hours old."""
    await run_sql(
        url,
        f"""INSERT INTO idempotency_keys (user_id, key, fingerprint, created_at)
        SELECT '{user_id}', '{hours} ' || n, '', now() - {hours} * interval '1 hour'
        FROM generate_series(1, {count}) AS n""",
    )


async def test_only_what_has_expired_is_deleted(own_url: str) -> None:
    db = await asyncpg.connect(own_url)
    bob = await new_user(db)
    await db.execute(
        """INSERT INTO refresh_tokens (token_hash, user_id, family_id, expires_at)
        SELECT sha256(n::text::bytea), $1, gen_random_uuid(), now() + CASE n WHEN 0 THEN 1 ELSE -1 END * interval '1 h'
        FROM generate_series(0, 2500) AS n""",
        bob,
    )
    done = await asyncio.gather(*(run("purge", "--batch", "100", DATABASE_URL=own_url) for _ in range(2)))
    assert [one.returncode for one in done] == [0, 0]
    assert sum(int(one.stdout.split()[0]) for one in done) == 2500
    kept = await rows(own_url, "SELECT expires_at > now() AS valid FROM refresh_tokens WHERE user_id = $1", bob)
    assert [row["valid"] for row in kept] == [True]
    again = await run("purge", DATABASE_URL=own_url)
    assert (again.returncode, again.stdout, again.stderr) == (0, NOTHING, "")
    await db.close()


async def test_links_are_deleted_when_they_expire_and_tokens_30_days_later(own_url: str) -> None:
    db = await asyncpg.connect(own_url)
    bob = await new_user(db)
    await db.execute(
        """INSERT INTO one_time_tokens (token_hash, user_id, purpose, basis, expires_at)
        SELECT sha256(n::text::bytea), $1, 'email', '', now() + CASE n WHEN 0 THEN 1 ELSE -1 END * interval '1 h'
        FROM generate_series(0, 20) AS n""",
        bob,
    )
    await db.execute(
        """INSERT INTO personal_tokens (token_hash, user_id, id, name, scopes, is_strict, last_four, expires_at)
        SELECT sha256(n::text::bytea), $1, gen_random_uuid(), 'n', '{}', false, 'abcd', now() - n * interval '10 days'
        FROM generate_series(-1, 5) AS n""",
        bob,
    )
    done = await run("purge", "--json", DATABASE_URL=own_url)
    told = json.loads(done.stdout)
    assert told["expired_links"] == {"deleted": 20, "passed_over": 0}
    assert told["expired_personal_tokens"] == {"deleted": 3, "passed_over": 0}
    assert await db.fetchval("SELECT count(*) FROM one_time_tokens") == 1
    assert await db.fetchval("SELECT count(*) FROM personal_tokens") == 4
    await db.close()


async def test_tombstones_of_30_days_and_keys_of_24_hours_are_deleted(own_url: str) -> None:
    db = await asyncpg.connect(own_url)
    ada, bob = await new_user(db), await new_user(db)
    await bury(db, ada, days=[30.01] * 250 + [29.99] * 2)
    await bury(db, bob, days=[29])
    await remember(own_url, ada, count=150, hours=24.01)
    await remember(own_url, ada, count=3, hours=23.99)
    done = await asyncio.gather(*(run("purge", "--batch", "20", DATABASE_URL=own_url) for _ in range(2)))
    assert [one.returncode for one in done] == [0, 0]
    counts = [[int(line.split()[0]) for line in one.stdout.splitlines()] for one in done]
    assert [sum(both) for both in zip(*counts, strict=True)] == [0, 250, 0, 0, 0, 0, 150, 0]
    assert (await left(db, ada), await left(db, bob)) == ((250, [251, 252]), (0, [1]))
    assert await idempotency_keys.count_expired(db) == 0
    assert len(await rows(own_url, "SELECT FROM idempotency_keys")) == 3
    assert (await run("purge", DATABASE_URL=own_url)).stdout == NOTHING
    await db.close()


async def test_rows_in_use_are_passed_over_and_named(own_url: str) -> None:
    db = await asyncpg.connect(own_url)
    ada, bob = await new_user(db), await new_user(db)
    for user in (ada, bob):
        await bury(db, user, days=[40.0] * 5)
    await remember(own_url, ada, count=4, hours=25)
    async with db.transaction():
        await db.execute("SELECT FROM task_clocks WHERE user_id = $1 FOR UPDATE", ada)
        await db.execute("SELECT FROM idempotency_keys WHERE key = '25 1' FOR UPDATE")
        done = await asyncio.wait_for(run("purge", "--batch", "2", DATABASE_URL=own_url), 20)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "0 expired refresh tokens deleted",
        "5 tombstones of tasks deleted, 5 passed over because they are in use: run bin/purge again",
        "0 past versions of tasks deleted",
        "0 ended sessions deleted",
        "0 expired links deleted",
        "0 expired personal tokens deleted",
        "3 idempotency keys deleted, 1 passed over because they are in use: run bin/purge again",
        "0 audit log entries deleted",
    ]
    assert (await left(db, ada), await left(db, bob)) == ((0, [1, 2, 3, 4, 5]), (5, []))
    again = await run("purge", DATABASE_URL=own_url)
    assert [int(line.split()[0]) for line in again.stdout.splitlines()] == [0, 5, 0, 0, 0, 0, 1, 0]
    assert await left(db, ada) == (5, [])
    await db.close()


async def test_misuse_is_2(database_url: str) -> None:
    assert (await run("purge", "--batch", "0", DATABASE_URL=database_url)).returncode == 2


async def test_past_versions_go_after_the_days_of_the_history(own_url: str) -> None:
    db = await asyncpg.connect(own_url)
    ada = await new_user(db)
    origin = Origin(ada, "session", "request")
    task, gone = await add(db, ada, origin=origin), await add(db, ada, origin=origin)
    await tasks.update(db, owner_id=ada, task_id=task.id, changes=Changes(title="new"), origin=origin)
    await tasks.delete(db, owner_id=ada, task_id=gone.id, origin=origin)
    await db.execute("UPDATE task_changes SET changed_at = now() - interval '10 days' WHERE user_id = $1", ada)
    await tasks.update(db, owner_id=ada, task_id=task.id, changes=Changes(title="newer"), origin=origin)
    assert (await run("purge", DATABASE_URL=own_url, HISTORY_DAYS="11")).stdout == NOTHING
    done = await run("purge", DATABASE_URL=own_url, HISTORY_DAYS="9")
    assert "4 past versions of tasks deleted" in done.stdout
    kept = await rows(own_url, "SELECT version, title, actor_id, deletes FROM task_changes ORDER BY version")
    assert [tuple(row) for row in kept] == [(4, None, None, True), (5, "new", ada, False)]
    assert (await run("purge", DATABASE_URL=own_url, HISTORY_DAYS="9")).stdout == NOTHING
    await run("purge", DATABASE_URL=own_url, HISTORY_DAYS="0")
    assert len(await rows(own_url, "SELECT FROM task_changes")) == 1
    await db.close()
