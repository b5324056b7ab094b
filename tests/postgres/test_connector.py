"""Opening connections: hosts that fit, refuse or hang, poolers declared or found out, and words for what went wrong."""

import asyncio
import struct
import time
from typing import Any

import pytest

from tests.proxy import Proxy, opened, refusing_port, settings, until
from todo_service.config.database_options import database_options
from todo_service.postgres.connector import HOST_SECONDS, CannotConnectError, Connector, single_connection
from todo_service.postgres.primary_watch import DOUBT_SECONDS, PrimaryWatch


async def test_a_single_connection_has_no_deadlines(database_url: str) -> None:
    async with single_connection(database_options(settings(database_url=database_url))) as db:
        assert await db.fetchval("SHOW statement_timeout") == "0"
    with refusing_port() as port, pytest.raises(CannotConnectError, match="Nothing listens"):
        async with single_connection(database_options(settings(database_url=f"postgres://127.0.0.1:{port}/x"))):
            pass


async def test_what_the_server_refuses_is_said_once_in_clear_words(database_url: str, logged: list[Any]) -> None:
    async with Proxy(database_url) as proxy:
        for url, words in (
            (proxy.url(password="QZX7KWV9"), "password"),
            (proxy.url(name="no_such_database"), '"no_such_database" does not exist'),
            (proxy.url(query="sslmode=require"), "TLS"),
            (proxy.url(query="options=-c%20no_such_setting%3D1"), "no_such_setting"),
        ):
            logged.clear()
            async with opened(url) as db_:
                assert not await db_.ping()
                assert not await db_.ping()
            assert len(logged) == 1
            assert words in logged[0]["reason"]
            assert "QZX7KWV9" not in str(logged)


# Several hosts.


async def test_a_host_that_refuses_is_passed_over(database_url: str, logged: list[Any]) -> None:
    with refusing_port() as port:
        async with Proxy(database_url) as proxy, opened(proxy.url(f"127.0.0.1:{port}", proxy.address)) as db_:
            assert await db_.ping()
    assert {entry["event"] for entry in logged} <= {"database_url_note", "event_loop_stalled"}


async def test_a_frozen_host_is_tried_last_the_next_time(database_url: str, logged: list[Any]) -> None:
    async with Proxy(database_url) as frozen, Proxy(database_url) as good:
        frozen.thawed.clear()
        url = good.url(frozen.address, good.address)
        async with opened(url, database_acquire_timeout=0.6) as db_:
            started = time.monotonic()
            assert await db_.ping()
            assert time.monotonic() - started < 0.5
            good.cut()
            await asyncio.sleep(0.05)
            started = time.monotonic()
            assert await db_.ping()
            assert time.monotonic() - started < 0.5


def as_standby(data: bytes) -> bytes:
    primary = b"S" + struct.pack("!i", 23) + b"in_hot_standby\0off\0"
    return data.replace(primary, b"S" + struct.pack("!i", 22) + b"in_hot_standby\0on\0")


@pytest.mark.parametrize(
    ("attrs", "chosen"),
    [("read-write", "primary"), ("primary", "primary"), ("standby", "standby"), ("prefer-standby", "standby")],
)
async def test_the_host_that_fits_is_used(database_url: str, attrs: str, chosen: str) -> None:
    async with Proxy(database_url, to_client=as_standby) as standby, Proxy(database_url) as primary:
        first, second = (standby, primary) if chosen == "primary" else (primary, standby)
        url = primary.url(first.address, second.address, query=f"target_session_attrs={attrs}")
        async with opened(url) as db_:
            first.turns = second.turns = 0
            assert await db_.ping()
            assert (first.turns, second.turns) == (0, 1)


def with_newer_timeline(data: bytes) -> bytes:
    """A row of one column, the number 1, becomes 2."""
    row = b"D" + struct.pack("!ihi", 14, 1, 4)
    return data.replace(row + struct.pack("!i", 1), row + struct.pack("!i", 2))


async def test_of_two_primaries_the_one_with_the_newer_timeline_is_used(database_url: str, logged: list[Any]) -> None:
    async def has_moved() -> bool:
        return "database_primary_changed" in [entry["event"] for entry in logged]

    async with (
        Proxy(database_url) as old,
        Proxy(database_url, to_client=with_newer_timeline) as new,
        opened(old.url(old.address, new.address)) as db_,
    ):

        async def leads_to_the_new_one() -> bool:
            old.turns = new.turns = 0
            return await db_.ping() and (old.turns, new.turns) == (0, 1)

        await until(has_moved)
        await until(leads_to_the_new_one, seconds=30)


async def test_a_primary_that_is_late_does_not_lead_back_to_the_older_one(database_url: str) -> None:
    async with Proxy(database_url) as old, Proxy(database_url, to_client=with_newer_timeline) as new:
        options = database_options(settings(database_url=old.url(old.address, new.address)))
        connector = Connector(options.dsn, server_settings={})
        moves: list[int] = []
        watch = PrimaryWatch(connector)
        watch.open(lambda: moves.append(connector.first))

        async def has_moved() -> bool:
            return moves == [1]

        try:
            await until(has_moved)
            new.thawed.clear()
            watch.doubt(timed_out=True)
            await asyncio.sleep(DOUBT_SECONDS + HOST_SECONDS + 0.5)
            assert moves == [1]
            assert connector.first == 1
        finally:
            await watch.close()


async def test_without_a_host_that_fits_the_reason_is_told(database_url: str, logged: list[Any]) -> None:
    async with Proxy(database_url, to_client=as_standby) as standby:
        async with opened(standby.url(query="target_session_attrs=read-write")) as db_:
            assert not await db_.ping()
        assert "target_session_attrs" in logged[-1]["reason"]
        async with opened(standby.url(query="target_session_attrs=read-only")) as db_:
            assert await db_.ping()
        async with opened(f"{database_url}?target_session_attrs=prefer-standby") as db_:
            assert await db_.ping()
