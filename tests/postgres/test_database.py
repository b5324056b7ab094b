"""The pool against a real PostgreSQL, with proxies between that freeze, cut, count and edit."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from tests.conftest import temporary_database
from tests.proxy import REPLY, Proxy, opened, settings, until
from todo_service.config.database_options import database_options
from todo_service.observability import logs
from todo_service.observability.request_record import RECORD, RequestRecord
from todo_service.postgres import database, pool
from todo_service.postgres.connector import CannotConnectError, single_connection
from todo_service.postgres.database import Database
from todo_service.postgres.failures import is_unavailable

OURS = "datname = current_database() AND application_name = 'Todo Pool'"


@pytest.fixture
async def failures(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Any]]:
    """Complaints that the event loop's handler logs, such as exceptions that nobody awaited."""
    found: list[Any] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(logs.log, "error", lambda _, **fields: found.append(fields))
    loop.set_exception_handler(logs.log_loop_error)
    yield found
    loop.set_exception_handler(None)


@pytest.fixture
async def own_url(postgres_url: str) -> AsyncIterator[str]:
    """An empty database for tests that leave tables behind."""
    async with temporary_database(postgres_url) as url:
        yield url


# A healthy server.


async def test_a_session_has_our_settings(database_url: str) -> None:
    async with opened(database_url, app_name="Todo Test") as db_, db_.connection() as db:
        names = ("application_name", "TimeZone", "plan_cache_mode", "jit", "statement_timeout", "lock_timeout")
        found = [await db.fetchval("SELECT current_setting($1)", name) for name in names]
    assert found == ["Todo Test", "UTC", "force_generic_plan", "off", "1800ms", "1500ms"]


async def test_what_the_url_sets_on_purpose_wins(database_url: str) -> None:
    url = f"{database_url}{'&' if '?' in database_url else '?'}application_name=mine&options=-c%20lock_timeout%3D7s"
    async with opened(url) as db_, db_.connection() as db:
        assert await db.fetchval("SHOW application_name") == "mine"
        assert await db.fetchval("SHOW lock_timeout") == "7s"


async def test_one_statement_is_one_round_trip(database_url: str) -> None:
    async with Proxy(database_url) as proxy, opened(proxy.url()) as db_:
        for expected in (2, 1, 1, 1):  # the first prepares
            before = proxy.turns
            async with db_.connection() as db:
                assert await db.fetchval("SELECT $1::int", 3) == 3
            assert proxy.turns - before == expected


async def test_a_transaction_commits_or_rolls_back(own_url: str) -> None:
    async def insert(last: str) -> None:
        async with db_.transaction() as db:
            await db.execute("INSERT INTO thing VALUES (1)")
            await db.execute(last)

    async with opened(own_url) as db_:
        async with db_.transaction() as db:
            await db.execute("CREATE TABLE thing (id int)")
        with pytest.raises(asyncpg.UndefinedTableError):
            await insert("INSERT INTO nothing VALUES (1)")
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await insert("SELECT pg_terminate_backend(pg_backend_pid())")
        await insert("SELECT 1")
        async with db_.transaction() as db, db.transaction():
            assert await db.fetchval("SELECT count(*) FROM thing") == 1


def refusing_rollback(data: bytes) -> bytes:
    """A server that fails at ROLLBACK and stays inside the transaction."""
    if b"ROLLBACK;" not in data:
        return data
    body = b"SERROR\0CXX000\0Mno\0\0"
    return REPLY + b"E" + struct.pack("!i", len(body) + 4) + body + b"Z" + struct.pack("!i", 5) + b"T"


async def test_a_connection_that_cannot_roll_back_is_thrown_away(database_url: str) -> None:
    async def fail() -> None:
        async with db_.transaction() as db:
            pids.append(await db.fetchval("SELECT pg_backend_pid()"))
            raise LookupError

    pids: list[int] = []
    async with (
        Proxy(database_url, to_server=refusing_rollback) as proxy,
        opened(proxy.url(), database_pool_max=1) as db_,
    ):
        with pytest.raises(LookupError) as failure:
            await fail()
        assert failure.value.__notes__ == ["The transaction could not be rolled back: InternalServerError"]
        async with db_.connection() as db:
            assert await db.fetchval("SELECT pg_backend_pid()") not in pids


async def test_each_request_is_told_its_own_database_time(database_url: str) -> None:
    async def request(count: int) -> RequestRecord:
        RECORD.set(record := RequestRecord("r"))
        for _ in range(count):
            async with db_.connection() as db:
                await db.fetchval("SELECT pg_sleep(0.01)")
        return record

    async with opened(database_url, database_pool_max=2) as db_:
        records = await asyncio.gather(*(asyncio.create_task(request(count)) for count in (1, 2, 3)))
    assert [record.statements for record in records] == [1, 2, 3]
    assert all(record.database_seconds >= 0.01 * record.statements for record in records)
    assert RECORD.get() is None


async def test_a_statement_nobody_answered_is_in_the_database_time(database_url: str) -> None:
    async def request() -> RequestRecord:
        RECORD.set(record := RequestRecord("r"))
        with pytest.raises(TimeoutError):
            async with db_.connection() as db:
                await db.fetchval("SELECT 1")
        return replace(record)

    values: dict[str, Any] = {"database_acquire_timeout": 0.05, "database_statement_timeout": 0.3}
    async with Proxy(database_url) as proxy, opened(proxy.url(), **values) as db_:
        await until(db_.ping)
        proxy.thawed.clear()
        record = await asyncio.create_task(request())
        proxy.thawed.set()
    assert record.statements == 1
    assert record.database_seconds >= 0.25


async def test_statements_are_logged_by_name_without_values(database_url: str, logged: list[Any]) -> None:
    names = {"SELECT $1::text": "things.select"}
    async with opened(database_url, names, database_echo=True) as db_, db_.transaction() as db:
        await db.fetchval("SELECT $1::text", "a private value")
        await db.fetchval("SELECT 1 + 1")
    found = [entry["name"] for entry in logged if entry["event"] == "statement"]
    assert found == ["ping", "begin", "things.select", "unnamed", "commit"]
    assert "private" not in str(logged)


async def test_a_statement_that_fails_at_the_server_keeps_its_connection(database_url: str) -> None:
    async with opened(database_url, database_statement_timeout=0.3) as db_:
        async with db_.connection() as db:
            pid = await db.fetchval("SELECT pg_backend_pid()")
        async with db_.connection() as db:
            with pytest.raises(asyncpg.QueryCanceledError) as slow:
                await db.execute("SELECT pg_sleep(5)")
        assert is_unavailable(slow.value)
        async with db_.connection() as db:
            assert await db.fetchval("SELECT pg_backend_pid()") == pid


async def test_a_busy_pool_refuses_in_time_and_recovers(database_url: str) -> None:
    async with opened(database_url, database_pool_max=1, database_acquire_timeout=0.2) as db_:
        async with db_.connection():
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                async with db_.connection():
                    pass
            assert time.monotonic() - started < 1
        assert await db_.ping()


async def test_cancelled_requests_leave_no_connection_behind(database_url: str) -> None:
    async def request() -> None:
        async with db_.transaction() as db:
            await db.execute("SELECT pg_sleep(0.05)")

    async with opened(database_url, database_pool_max=4, app_name="Todo Pool") as db_:
        tasks = [asyncio.create_task(request()) for _ in range(40)]
        for step, task in enumerate(tasks):
            await asyncio.sleep(0.003)
            if step % 2:
                task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) >= 10
        await asyncio.sleep(2 * pool.CANCEL_SECONDS)
        assert all(await asyncio.gather(*(db_.ping() for _ in range(8))))
        async with db_.connection() as db:
            count = f"SELECT count(*) FROM pg_stat_activity WHERE {OURS} AND state LIKE 'idle in%'"
            assert await db.fetchval(count) == 0


async def test_the_floor_is_kept_open(database_url: str) -> None:
    async def outlived(db: Any) -> bool:
        old = "now() - backend_start > '1 second'"  # more than twice as long as an idle one may live
        return bool(await db.fetchval(f"SELECT count(*) = 3 FROM pg_stat_activity WHERE {OURS} AND {old}"))

    values: dict[str, Any] = {"database_pool_min": 3, "database_pool_recycle": 0.4, "app_name": "Todo Pool"}
    async with (
        opened(database_url, **values),
        single_connection(database_options(settings(database_url=database_url))) as db,
    ):
        await until(lambda: outlived(db))


# A server that is away.


async def test_it_starts_without_postgresql_and_finds_it_later(
    database_url: str, logged: list[Any], failures: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    proxy = Proxy(database_url)
    async with opened(proxy.url(), database_pool_min=2) as db_:
        for _ in range(3):
            assert not await db_.ping()
            with pytest.raises(CannotConnectError) as away:
                async with db_.connection():
                    pass
            assert is_unavailable(away.value)
        async with proxy:
            assert await db_.ping()
            proxy.cut()
            await asyncio.sleep(0.05)
            assert await db_.ping()
    events = [entry["event"] for entry in logged]
    assert events == ["database_unreachable", "database_reachable_again"]
    assert "Nothing listens" in logged[0]["reason"]
    assert failures == []
    assert caplog.records == []


async def test_a_request_to_a_frozen_server_ends_within_three_seconds(
    database_url: str, logged: list[Any], failures: list[Any]
) -> None:
    async def timed(block: Any, statement: str) -> float:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            async with block as db:
                await db.execute(statement)
        return time.monotonic() - started

    async with Proxy(database_url) as proxy, opened(proxy.url(), database_pool_max=4) as db_:
        assert all(await asyncio.gather(*(db_.ping() for _ in range(3))))
        proxy.thawed.clear()
        waits = await asyncio.gather(
            *(timed(db_.connection(), "SELECT 1") for _ in range(6)),
            *(timed(db_.transaction(), "SELECT 1") for _ in range(6)),
        )
        assert max(waits) < 2.9
        proxy.thawed.set()
        await until(db_.ping)
    assert failures == []


async def test_a_connection_lost_while_it_is_abandoned_is_no_trouble(database_url: str, failures: list[Any]) -> None:
    async with Proxy(database_url) as proxy, opened(proxy.url(), database_statement_timeout=0.2) as db_:
        proxy.thawed.clear()
        with pytest.raises(TimeoutError):
            async with db_.connection() as db:
                await db.execute("SELECT 1")
        proxy.cut()
        proxy.thawed.set()
    assert failures == []


async def test_a_transaction_on_a_frozen_server_does_not_wait_twice(database_url: str) -> None:
    async def freeze() -> None:
        async with db_.transaction() as db:
            await db.execute("SELECT 1")
            proxy.thawed.clear()
            await db.execute("SELECT 1")

    async with Proxy(database_url) as proxy, opened(proxy.url(), database_statement_timeout=0.5) as db_:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await freeze()
        assert time.monotonic() - started < 0.9
        proxy.thawed.set()
        await until(db_.ping)


async def test_closing_is_bounded(database_url: str, monkeypatch: pytest.MonkeyPatch, logged: list[Any]) -> None:
    monkeypatch.setattr(database, "CLOSE_SECONDS", 0.2)
    instance = Database(database_options(settings(database_url=database_url)))
    await instance.open()
    block = instance.connection()
    await block.__aenter__()
    started = time.monotonic()
    await instance.close()
    await instance.close()
    assert time.monotonic() - started < 1
    assert logged[-1]["event"] == "database_connections_closed_by_force"
    await block.__aexit__(None, None, None)
    with pytest.raises(CannotConnectError):
        async with instance.connection():
            pass


@pytest.mark.parametrize("state", ["25006", "57P01"])
async def test_a_failover_replaces_every_connection(database_url: str, state: str) -> None:
    async def pid() -> int:
        async with db_.connection() as db:
            await db.fetchval("SELECT pg_sleep(0.05)")
            return int(await db.fetchval("SELECT pg_backend_pid()"))

    async def fail() -> None:
        async with db_.transaction() as db:
            await db.execute(f"DO $$ BEGIN RAISE EXCEPTION 'failover' USING ERRCODE = '{state}'; END $$")

    async with opened(database_url, database_pool_max=3) as db_:
        before = set(await asyncio.gather(pid(), pid(), pid()))
        with pytest.raises(asyncpg.PostgresError) as failover:
            await fail()
        assert is_unavailable(failover.value)
        after = set(await asyncio.gather(pid(), pid(), pid()))
    assert len(before) == len(after) == 3
    assert not before & after


@pytest.mark.parametrize(
    ("url", "warned"), [("postgres://db.internal/todo", True), ("postgres://db.internal/todo?sslmode=require", False)]
)
async def test_production_says_loudly_that_a_connection_may_be_plain(url: str, warned: bool, logged: list[Any]) -> None:
    production = settings(database_url=url, database_acquire_timeout=0.05).model_copy(
        update={"environment": "production"}
    )
    instance = Database(database_options(production))
    await instance.open()
    await instance.close()
    assert any(entry["event"] == "database_may_be_unencrypted" for entry in logged) is warned
