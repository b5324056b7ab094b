"""The open connections: who waits is served in order, and no connection outlives its use."""

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from todo_service.postgres import pool
from todo_service.postgres.connection import TimedConnection
from todo_service.postgres.pool import ConnectionPool

Make = Callable[..., ConnectionPool]


@pytest.fixture
async def make(database_url: str) -> AsyncIterator[Make]:
    """Makes pools that are closed after the test."""
    made: list[ConnectionPool] = []

    async def connect() -> TimedConnection:
        connection: TimedConnection = await asyncpg.connect(database_url, connection_class=TimedConnection)
        return connection

    def new(*, max_size: int = 1, recycle: float = 60) -> ConnectionPool:
        made.append(ConnectionPool(connect, max_size=max_size, recycle=recycle))
        return made[-1]

    yield new
    for one in made:
        await one.close()
        assert one.size == 0


async def test_those_who_wait_are_served_in_the_order_of_their_arrival(make: Make) -> None:
    connections, order = make(), []

    async def use(number: int) -> None:
        pooled = connections.take_idle() or await connections.acquire()
        order.append(number)
        await asyncio.sleep(0)
        connections.release(pooled)

    await asyncio.gather(*(use(number) for number in range(20)))
    assert order == list(range(20))
    assert (connections.size, connections.idle) == (1, 1)


@pytest.mark.parametrize("turns", range(4))
async def test_one_who_gives_up_loses_no_connection(make: Make, turns: int) -> None:
    connections = make()
    first = await connections.acquire()
    waiting = [asyncio.create_task(connections.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    for turn in range(4):
        if turn == turns:
            waiting[0].cancel()
        if turn == 1:
            connections.release(first)
        await asyncio.sleep(0)
    for task in waiting:
        if not task.cancelled() and (await asyncio.wait([task], timeout=5))[0] and not task.cancelled():
            connections.release(task.result())
    assert (connections.size, connections.idle) == (1, 1)


async def test_an_idle_connection_is_closed_after_its_time(make: Make) -> None:
    connections = make(max_size=2, recycle=0.1)
    for pooled in [await connections.acquire(), await connections.acquire()]:
        connections.release(pooled)
    assert connections.idle == 2
    await asyncio.sleep(0.3)
    assert (connections.size, connections.idle) == (0, 0)


async def test_a_connection_is_replaced_when_it_is_worn_lost_expired_or_in_a_transaction(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_USES", 3)
    connections = make()

    async def pid() -> int:
        pooled = connections.take_idle() or await connections.acquire()
        found: int = pooled.connection.get_server_pid()
        connections.release(pooled)
        return found

    assert len({await pid() for _ in range(3)}) == 1
    worn = {await pid() for _ in range(2)}
    assert len(worn) == 1
    connections.expire()
    expired = await pid()
    assert expired not in worn
    pooled = await connections.acquire() if connections.idle == 0 else connections.take_idle()
    assert pooled is not None
    await pooled.connection.execute("BEGIN")
    connections.release(pooled)
    assert await pid() != expired


async def test_a_connection_that_is_being_opened_expires_too(make: Make) -> None:
    connections = make()
    opening = asyncio.create_task(connections.acquire())
    await asyncio.sleep(0)
    connections.expire()  # another host is the primary now
    connections.release(await opening)
    assert (connections.size, connections.take_idle()) == (0, None)
