"""Values are read together, and never from before the request arrived."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.proxy import Proxy, opened, until
from todo_service.observability.request_record import RECORD, RequestRecord
from todo_service.postgres.batched_reads import BatchedReads
from todo_service.queries import clocks
from todo_service.queries.task_lists import Stamp

CHANCE = random.Random(7)  # noqa: S311
RAISE = "UPDATE task_clocks SET version = version + 1 WHERE user_id = $1 RETURNING version"


@pytest.fixture
async def users(database_url: str) -> AsyncIterator[list[str]]:
    """Five users with clocks."""
    ids = [uuid4().hex for _ in range(5)]
    db = await asyncpg.connect(database_url)
    await db.execute("INSERT INTO users (id) SELECT unnest($1::text[])", ids)
    await db.execute("INSERT INTO task_clocks (user_id, version, task_count) SELECT unnest($1::text[]), 0, 0", ids)
    yield ids
    await db.execute("DELETE FROM users WHERE id = ANY ($1)", ids)
    await db.close()


async def test_every_reader_sees_each_change_acknowledged_before(database_url: str, users: list[str]) -> None:
    acknowledged = dict.fromkeys(users, 0)
    records = []

    async def write(db: asyncpg.Connection) -> None:
        while not done.is_set():
            user = CHANCE.choice(users)
            acknowledged[user] = max(acknowledged[user], await db.fetchval(RAISE, user))

    async def read() -> None:
        RECORD.set(record := RequestRecord("r"))
        records.append(record)
        for _ in range(40):
            user = CHANCE.choice(users)
            least = acknowledged[user]
            stamp = await stamps.read(user)
            assert stamp is not None
            assert stamp.version >= least
            await asyncio.sleep(CHANCE.random() / 500)

    done = asyncio.Event()
    async with opened(database_url) as database:
        stamps = BatchedReads(database, clocks.select_stamps, owner=str)
        db = await asyncpg.connect(database_url)
        writing = asyncio.create_task(write(db))
        await asyncio.gather(*(asyncio.create_task(read()) for _ in range(30)))
        done.set()
        await writing
        await db.close()
    assert sum(acknowledged.values()) > 20
    assert all(record.statements == 40 and record.database_seconds > 0 for record in records)


async def test_those_who_wait_share_one_statement(database_url: str, users: list[str]) -> None:
    async with Proxy(database_url) as proxy, opened(proxy.url()) as database:
        stamps = BatchedReads(database, clocks.select_stamps, owner=str)
        await stamps.read(users[0])  # prepares
        before = proxy.turns
        found = await asyncio.gather(*(stamps.read(user) for user in [*users * 4, "nobody"]))
        assert proxy.turns - before == 2
    assert found.pop() is None
    assert {stamp.version for stamp in found if stamp is not None} == {0}


async def test_a_reader_that_is_given_up_takes_nobody_along(database_url: str, users: list[str]) -> None:
    async with opened(database_url) as database:
        stamps = BatchedReads(database, clocks.select_stamps, owner=str)
        for given_up in range(4):
            readers = [asyncio.create_task(stamps.read(user)) for user in users]
            await asyncio.sleep(0)
            await asyncio.sleep(0.0005 * given_up)
            readers[given_up].cancel()
            readers[0].cancel()
            outcomes = await asyncio.gather(*readers, return_exceptions=True)
            assert isinstance(outcomes[0], asyncio.CancelledError | Stamp)
            assert all(isinstance(outcome, Stamp) for outcome in outcomes[given_up + 1 :])
        assert (stamp := await stamps.read(users[0])) is not None
        assert stamp.version == 0


async def test_a_database_that_is_away_fails_all_in_time_and_is_found_again(
    database_url: str, users: list[str]
) -> None:
    async def read(user: str) -> float:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await stamps.read(user)
        return time.monotonic() - started

    values: dict[str, Any] = {"database_acquire_timeout": 0.3, "database_statement_timeout": 0.3}
    async with Proxy(database_url) as proxy, opened(proxy.url(), **values) as database:
        stamps = BatchedReads(database, clocks.select_stamps, owner=str)
        proxy.thawed.clear()
        waits = await asyncio.gather(*(read(user) for user in users * 3))
        assert max(waits) < database.longest + 0.2
        proxy.thawed.set()
        await until(database.ping)
        assert (stamp := await stamps.read(users[0])) is not None
        assert stamp.version == 0


async def test_a_stall_fails_no_request_that_arrived_at_its_end(database_url: str, users: list[str]) -> None:
    """The requests from before the stall time out, and take none with them that has time left."""
    values: dict[str, Any] = {"database_acquire_timeout": 1, "database_statement_timeout": 1}
    async with Proxy(database_url) as proxy, opened(proxy.url(), **values) as database:
        stamps = BatchedReads(database, clocks.select_stamps, owner=str)
        await stamps.read(users[0])
        proxy.thawed.clear()
        old = [asyncio.create_task(stamps.read(user)) for user in users[:3]]
        await asyncio.sleep(0.8)
        fresh = [asyncio.create_task(stamps.read(user)) for user in users]
        proxy.thawed.set()
        outcomes = await asyncio.gather(*fresh, return_exceptions=True)
        assert all(isinstance(outcome, Stamp) for outcome in outcomes)
        await asyncio.gather(*old, return_exceptions=True)
