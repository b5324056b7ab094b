"""Opening connections: hosts that fit, refuse or hang, poolers declared or found out, and words for what went wrong."""

import asyncio
import os
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.conftest import run_sql, temporary_database
from tests.deploy.programs import program
from tests.proxy import PROTOCOL, REPLY, Edit, Proxy, opened, refusing_port, settings, until
from todo_service.config.database_options import database_options
from todo_service.postgres.connector import CannotConnectError, single_connection


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


async def test_without_a_host_that_fits_the_reason_is_told(database_url: str, logged: list[Any]) -> None:
    async with Proxy(database_url, to_client=as_standby) as standby:
        async with opened(standby.url(query="target_session_attrs=read-write")) as db_:
            assert not await db_.ping()
        assert "target_session_attrs" in logged[-1]["reason"]
        async with opened(standby.url(query="target_session_attrs=read-only")) as db_:
            assert await db_.ping()
        async with opened(f"{database_url}?target_session_attrs=prefer-standby") as db_:
            assert await db_.ping()


# Poolers.


def is_our_startup(data: bytes) -> bool:
    return data[4:8] == PROTOCOL and b"plan_cache_mode\0" in data


def refusing_pooler(data: bytes) -> bytes:
    """PgBouncer's answer to a startup parameter that it does not track."""
    if not is_our_startup(data):
        return data
    body = b"SFATAL\0C08P01\0Munsupported startup parameter: plan_cache_mode\0\0"
    return REPLY + b"E" + struct.pack("!i", len(body) + 4) + body


def forgetting_pooler(data: bytes) -> bytes:
    """A pooler that drops the startup parameters it does not know, as several do."""
    if not is_our_startup(data):
        return data
    words = data[8:].rstrip(b"\0").split(b"\0")
    kept = [pair for pair in zip(words[::2], words[1::2], strict=True) if pair[0] in (b"user", b"database")]
    body = b"".join(name + b"\0" + value + b"\0" for name, value in kept) + b"\0"
    return struct.pack("!i", len(body) + 8) + PROTOCOL + body


def database_events(logged: list[Any]) -> list[str]:
    return [entry["event"] for entry in logged if entry["event"].startswith("database_")]


@pytest.mark.parametrize("edit", [refusing_pooler, forgetting_pooler])
async def test_a_pooler_nobody_declared_is_found_out(database_url: str, logged: list[Any], edit: Edit) -> None:
    async with Proxy(database_url, to_server=edit) as proxy, opened(proxy.url(), database_pool_max=3) as db_:
        async with db_.connection() as db:
            assert await db.fetchval("SHOW plan_cache_mode") == "auto"
            await db.fetchval("SELECT $1::int", 1)
            assert await db.fetchval("SELECT count(*) FROM pg_prepared_statements") <= 1
        assert all(await asyncio.gather(*(db_.ping() for _ in range(3))))
    assert database_events(logged) == ["database_pooler_found", "database_limits_not_in_force"]


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
async def test_pgbouncer_in_transaction_mode(
    database_url: str, tmp_path: Path, logged: list[Any], declared: bool
) -> None:
    async def request(number: int) -> int:
        async with db_.transaction() as db:
            found = await db.fetchval("SELECT $1::int", number)
            return int(found + await db.fetchval("SELECT $1::int * 0", number))

    query = "?pgbouncer=true" if declared else ""
    async with pgbouncer(database_url, tmp_path) as url, opened(url + query, database_pool_max=8) as db_:
        assert await asyncio.gather(*(request(number) for number in range(60))) == list(range(60))
    found = [] if declared else ["database_pooler_found"]
    assert database_events(logged) == [*found, "database_limits_not_in_force"]


RATE_LIMITER = ["idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout"]


@pytest.mark.parametrize("kept", [[], ["statement_timeout"], RATE_LIMITER], ids=["none", "one", "all"])
async def test_limits_that_nobody_keeps_behind_a_pooler_are_named_once(
    postgres_url: str, tmp_path: Path, logged: list[Any], kept: list[str]
) -> None:
    async with temporary_database(postgres_url) as own:
        name = own.rpartition("/")[2]
        for limit in kept:
            await run_sql(own, f"ALTER DATABASE {name} SET {limit} = '3s'")
        async with pgbouncer(own, tmp_path) as url, opened(f"{url}?pgbouncer=true", database_pool_max=3) as db_:
            assert all(await asyncio.gather(*(db_.ping() for _ in range(3))))
    missing = [limit for limit in RATE_LIMITER if limit not in kept]
    assert [entry["limits"] for entry in logged if "limits" in entry] == ([missing] if missing else [])


async def test_a_busy_pooler_is_no_reason_to_have_no_connection(
    database_url: str, tmp_path: Path, logged: list[Any]
) -> None:
    async with pgbouncer(database_url, tmp_path) as url:
        busy = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(2)]
        sleeping = [asyncio.create_task(db.execute("SELECT pg_sleep(1.5)")) for db in busy]
        await asyncio.sleep(0.2)
        async with opened(f"{url}?pgbouncer=true", database_acquire_timeout=5) as db_:
            assert not [entry for entry in logged if entry["event"].startswith("database")]
            assert await db_.ping()
        await asyncio.gather(*sleeping)
        for db in busy:
            await db.close()


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


@asynccontextmanager
async def pgbouncer(url: str, folder: Path) -> AsyncIterator[str]:
    """The URL of a PgBouncer with two server connections, in transaction mode, as long as the block lasts."""
    proxy = Proxy(url)
    (host, upstream), user, secret = proxy.target.hosts[0], proxy.target.user, proxy.target.password
    (folder / "users.txt").write_text(f'"{user}" "{secret}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={host} port={upstream}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {proxy.port}\n"
        f"auth_type = scram-sha-256\nauth_file = {folder}/users.txt\npool_mode = transaction\ndefault_pool_size = 2\n"
        "unix_socket_dir =\n"
    )
    as_other = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.getuid() == 0 else []
    process = await asyncio.create_subprocess_exec(
        *as_other, program("pgbouncer"), "-q", str(folder / "pgbouncer.ini"), stderr=asyncio.subprocess.DEVNULL
    )

    try:
        await until(lambda: listens(proxy.port))
        yield proxy.url().removesuffix("?")
    finally:
        process.kill()
        await process.wait()
