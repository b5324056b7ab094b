"""The statement of delta sync: what it gives, to whom, and what it reads."""

import re
from uuid import UUID, uuid4

import asyncpg
import pytest_asyncio

from tests.queries.test_tasks import add, new_task
from todo_service.postgres.connection import Connection
from todo_service.queries import changes, tasks, users
from todo_service.queries.changes import SELECT_PAGE, Change, ChangePage
from todo_service.queries.task_rows import Changes, TaskRow


@pytest_asyncio.fixture
async def ada(db: Connection) -> str:
    """A user."""
    return await new_user(db)


@pytest_asyncio.fixture
async def bob(db: Connection) -> str:
    """Another user."""
    return await new_user(db)


async def new_user(db: Connection) -> str:
    user_id = uuid4().hex
    await users.insert(
        db, user_id=user_id, email=user_id, email_key=f"{user_id}@example.com", password_hash="x", full_name=None
    )
    return user_id


async def page(
    db: Connection, owner_id: str, position: int = 0, *, deletions_since: int | None = None, limit: int = 100
) -> ChangePage:
    found = await changes.select_page(
        db, owner_id=owner_id, position=position, deletions_since=deletions_since, limit=limit
    )
    assert found is not None
    return found


async def delete(db: Connection, owner_id: str, task_id: UUID) -> int:
    version = await tasks.delete(db, owner_id=owner_id, task_id=task_id)
    assert version is not None
    return version


def live(row: TaskRow) -> Change:
    return Change(row.version, row.id, row)


async def test_from_the_start_come_all_live_tasks_in_the_order_of_versions(db: Connection, ada: str) -> None:
    rows = [await add(db, ada) for _ in range(4)]
    await delete(db, ada, rows[1].id)
    renamed = await tasks.update(db, owner_id=ada, task_id=rows[0].id, changes=Changes(title="new"))
    assert renamed is not None
    found = await page(db, ada)
    assert found.changes == [live(rows[2]), live(rows[3]), live(renamed)]
    assert (found.version, found.sync_floor, found.has_more) == (6, 0, False)


async def test_after_a_position_come_the_changes_above_it_deletions_among_them(db: Connection, ada: str) -> None:
    rows = [await add(db, ada) for _ in range(3)]
    await delete(db, ada, rows[0].id)
    last = await add(db, ada)
    found = await page(db, ada, 2, deletions_since=2)
    assert found.changes == [live(rows[2]), Change(4, rows[0].id, None), live(last)]
    assert (await page(db, ada, 4, deletions_since=4)).changes == [live(last)]
    assert (await page(db, ada, 5, deletions_since=5)).changes == []
    assert (await page(db, ada, 2**63 - 1, deletions_since=2**63 - 1)).changes == []


async def test_deletions_up_to_the_given_version_are_left_out(db: Connection, ada: str) -> None:
    rows = [await add(db, ada) for _ in range(3)]
    for row in rows:
        await delete(db, ada, row.id)
    assert [change.version for change in (await page(db, ada, 0, deletions_since=4)).changes] == [5, 6]
    assert [change.version for change in (await page(db, ada, 5, deletions_since=4)).changes] == [6]
    assert (await page(db, ada, 0, deletions_since=None)).changes == []


async def test_a_task_made_again_under_its_id_is_deleted_first_and_then_there(db: Connection, ada: str) -> None:
    first = await add(db, ada)
    await delete(db, ada, first.id)
    second = await add(db, ada, new_task("again", id=first.id))
    assert (await page(db, ada, 1, deletions_since=1)).changes == [Change(2, first.id, None), live(second)]


async def test_a_page_has_as_many_as_asked_for_and_says_whether_there_are_more(db: Connection, ada: str) -> None:
    rows = [await add(db, ada) for _ in range(3)]
    await delete(db, ada, rows[2].id)
    for limit, versions, has_more in ((1, [1], True), (2, [1, 2], True), (3, [1, 2, 4], False), (4, [1, 2, 4], False)):
        found = await page(db, ada, deletions_since=0, limit=limit)
        assert ([change.version for change in found.changes], found.has_more) == (versions, has_more)


async def test_changes_are_the_owners_alone(db: Connection, ada: str, bob: str) -> None:
    row = await add(db, ada)
    await delete(db, ada, (await add(db, ada)).id)
    for deletions_since in (0, None):
        found = await page(db, bob, deletions_since=deletions_since)
        assert (found.changes, found.version, found.has_more) == ([], 0, False)
    assert (await page(db, bob)).epoch != (await page(db, ada)).epoch
    assert (await page(db, ada)).changes == [live(row)]


async def test_who_has_no_clock_has_no_page(db: Connection) -> None:
    nobody = await changes.select_page(db, owner_id="nobody", position=0, deletions_since=None, limit=1)
    assert nobody is None


async def test_changes_of_a_transaction_come_together_when_it_is_committed(database_url: str) -> None:
    writer, reader = [await asyncpg.connect(database_url) for _ in range(2)]
    owner_id = await new_user(writer)
    async with writer.transaction():
        rows = [await add(writer, owner_id) for _ in range(3)]
        await delete(writer, owner_id, rows[0].id)
        before = await page(reader, owner_id, deletions_since=0)
    after = await page(reader, owner_id, deletions_since=0)
    assert (before.version, before.changes) == (0, [])
    assert (after.version, [change.version for change in after.changes]) == (4, [2, 3, 4])
    await writer.close()
    await reader.close()


async def explained(db: Connection, owner_id: str, position: int, limit: int) -> str:
    """The plan as it was carried out, as the service's connections make it."""
    return "\n".join(
        row[0] for row in await db.fetch(f"EXPLAIN (ANALYZE) EXECUTE page('{owner_id}', {position}, 0, {limit})")
    )


async def test_with_nothing_new_only_the_clock_is_read(db: Connection, ada: str) -> None:
    """And a page reads as many rows as it has, however many tasks and tombstones there are."""
    await db.execute(
        """INSERT INTO tasks (user_id, id, title, status, priority, tags, created_at, updated_at, version)
        SELECT $1, gen_random_uuid(), 'task', 'TODO', 'LOW', '{}', now(), now(), 2 * n
        FROM generate_series(1, 10000) AS n""",
        ada,
    )
    await db.execute(
        """INSERT INTO task_changes (user_id, version, task_id, changed_at)
        SELECT $1, 2 * n - 1, gen_random_uuid(), now() FROM generate_series(1, 10000) AS n""",
        ada,
    )
    await db.execute("UPDATE task_clocks SET version = 20000 WHERE user_id = $1", ada)
    await db.execute("INSERT INTO users (id) SELECT 'user ' || n FROM generate_series(1, 5000) AS n")
    await db.execute("INSERT INTO task_clocks (user_id) SELECT id FROM users WHERE id LIKE 'user %'")
    await db.execute("ANALYZE tasks, task_changes, task_clocks")
    await db.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    await db.execute(f"PREPARE page AS {SELECT_PAGE}")
    idle = await explained(db, ada, 20000, 501)
    scans = re.findall(r"Scan using (\w+) .*\((never executed|actual)", idle)
    assert sorted(scans) == [
        ("task_changes_deletions", "never executed"),
        ("task_clocks_pkey", "actual"),
        ("tasks_user_version", "never executed"),
    ], idle
    busy = await explained(db, ada, 9000, 21)
    assert "Seq Scan" not in idle + busy
    assert max(float(rows) for rows in re.findall(r"actual .*rows=([\d.]+)", busy)) == 21
