"""Tombstones that have expired: which go, how the floor of sync rises with them, and that nobody waits."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from tests.queries.test_changes import new_user
from tests.queries.test_tasks import add
from todo_service.postgres.connection import Connection
from todo_service.queries import clocks, expired_changes, tasks


@pytest_asyncio.fixture
async def connections(database_url: str) -> AsyncIterator[list[Connection]]:
    """Connections that see what each other commits. Nothing of other tests is left expired."""
    opened = [await asyncpg.connect(database_url) for _ in range(4)]
    await expired_changes.delete_expired(opened[0], at_most=100_000)
    yield opened
    for connection in opened:
        await connection.close()


async def bury(db: Connection, user_id: str, *, days: list[float]) -> None:
    """Tombstones of versions 1, 2 and so on, each so many days old."""
    await db.execute(
        """INSERT INTO task_changes (user_id, version, task_id, changed_at)
        SELECT $1, version, gen_random_uuid(), now() - age * interval '1 day'
        FROM unnest($2::float8[]) WITH ORDINALITY AS buried (age, version)""",
        user_id,
        days,
    )
    await db.execute("UPDATE task_clocks SET version = $2 WHERE user_id = $1", user_id, len(days))


async def left(db: Connection, user_id: str) -> tuple[int, list[int]]:
    """The floor and the versions of the tombstones, of one moment."""
    row = await db.fetchrow(
        """SELECT sync_floor, ARRAY (SELECT version FROM task_changes WHERE user_id = $1 ORDER BY version)
        FROM task_clocks WHERE user_id = $1""",
        user_id,
    )
    assert row is not None
    return row[0], row[1]


async def test_those_older_than_30_days_go_and_the_floor_rises_to_the_last_of_them(db: Connection) -> None:
    ada, bob = await new_user(db), await new_user(db)
    await bury(db, ada, days=[40, 31, 30.01, 29.99, 1])
    await bury(db, bob, days=[29, 2])
    assert await expired_changes.count_expired(db) == 3
    assert await expired_changes.delete_expired(db, at_most=100) == 3
    assert await left(db, ada) == (3, [4, 5])
    assert await left(db, bob) == (0, [1, 2])
    assert await expired_changes.count_expired(db) == await expired_changes.delete_expired(db, at_most=100) == 0
    assert [await clocks.select_version(db, owner_id=owner) for owner in (ada, bob)] == [5, 2]


async def test_the_oldest_go_first_and_no_more_than_asked_for(db: Connection) -> None:
    ada, bob = await new_user(db), await new_user(db)
    await bury(db, ada, days=[50, 45, 33])
    await bury(db, bob, days=[40])
    assert await expired_changes.delete_expired(db, at_most=2) == 2
    assert (await left(db, ada), await left(db, bob)) == ((2, [3]), (0, [1]))
    assert await expired_changes.delete_expired(db, at_most=2) == 2
    assert (await left(db, ada), await left(db, bob)) == ((3, []), (1, []))


async def test_the_floor_never_falls(db: Connection) -> None:
    """Also where the database's clock went back between two deletions."""
    ada = await new_user(db)
    await bury(db, ada, days=[31, 50, 1])
    assert await expired_changes.delete_expired(db, at_most=1) == 1
    assert await left(db, ada) == (2, [1, 3])
    assert await expired_changes.delete_expired(db, at_most=1) == 1
    assert await left(db, ada) == (2, [3])


async def test_users_whose_tasks_are_being_written_are_passed_over(connections: list[Connection]) -> None:
    purge, writer = connections[:2]
    ada, bob = await new_user(purge), await new_user(purge)
    await bury(purge, ada, days=[50.0] * 20)
    await bury(purge, bob, days=[40])
    async with writer.transaction():
        await add(writer, ada)
        assert await expired_changes.delete_expired(purge, at_most=5) == 1
        assert await expired_changes.delete_expired(purge, at_most=5) == 0
        assert (await left(purge, ada), await left(purge, bob)) == ((0, list(range(1, 21))), (1, []))
    assert await expired_changes.delete_expired(purge, at_most=100) == 20
    assert await left(purge, ada) == (20, [])


async def test_floor_and_tombstones_agree_at_every_moment(connections: list[Connection]) -> None:
    """Two purges, a writer whose deletions leave every second version, and an observer who never finds a gap."""
    first, second, writer, observer = connections
    ada = await new_user(first)
    await bury(first, ada, days=[40.0] * 1500 + [1.0] * 500)
    done, looked = asyncio.Event(), asyncio.Event()

    async def purge(own: Connection) -> int:
        deleted = 0
        while await expired_changes.count_expired(own):
            deleted += await expired_changes.delete_expired(own, at_most=10)
            looked.clear()
            await looked.wait()
        return deleted

    async def write() -> None:
        while not done.is_set():
            await tasks.delete(writer, owner_id=ada, task_id=(await add(writer, ada)).id)

    async def observe() -> set[int]:
        floors = set()
        while not done.is_set():
            floor, versions = await left(observer, ada)
            newest = max(versions)
            kept = set(versions)
            assert all(
                version in kept for version in range(floor + 1, newest + 1) if version <= 2000 or not version % 2
            )
            floors.add(floor)
            looked.set()
        return floors

    async def purge_both() -> int:
        deleted = await asyncio.gather(purge(first), purge(second))
        done.set()
        return sum(deleted)

    deleted, _, floors = await asyncio.wait_for(asyncio.gather(purge_both(), write(), observe()), 30)
    assert deleted == 1500
    assert len(floors) > 4
    floor, versions = await left(observer, ada)
    assert (floor, versions[:500]) == (1500, list(range(1501, 2001)))


async def test_a_user_who_deletes_on_and_on_keeps_those_of_100_000_versions(db: Connection) -> None:
    ada, bob = await new_user(db), await new_user(db)
    await bury(db, ada, days=[0.1] * 5)
    await bury(db, bob, days=[0.1] * 5)
    task = await add(db, ada)
    await db.execute("UPDATE task_clocks SET version = 100004 WHERE user_id = $1", ada)
    await tasks.delete(db, owner_id=ada, task_id=task.id)
    assert await left(db, ada) == (3, [4, 5, 100_005])
    assert await left(db, bob) == (0, [1, 2, 3, 4, 5])


async def test_totals_are_the_same_in_pieces_of_any_size(db: Connection) -> None:
    ids = [await new_user(db) for _ in range(3)]
    for user_id in ids:
        for _ in range(2):
            await add(db, user_id)
    await db.execute("UPDATE task_clocks SET task_count = 3 WHERE user_id = $1", ids[0])
    await db.execute("UPDATE task_clocks SET version = 1 WHERE user_id = $1", ids[1])
    pieces: list[int] = []
    whole = await clocks.select_totals(db, report=pieces.append)
    assert pieces[-1] == 0
    assert min(whole.miscounted, whole.ahead) >= 1
    assert (whole.users >= 3, whole.tasks >= 6) == (True, True)
    for at_once in (1, 2, 100_000):
        assert await clocks.select_totals(db, at_once=at_once) == whole
