"""Transaction poolers, declared or found out: what they keep of a session, and how the service does without."""

import asyncio
import os
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from packaging.version import Version

from tests.conftest import run_sql, temporary_database
from tests.deploy.programs import program
from tests.proxy import PROTOCOL, REPLY, Edit, Proxy, opened, until


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


UNAIDED = ["database_limits_not_in_force", "database_pooler_forgets_statements"]


@pytest.mark.parametrize("edit", [refusing_pooler, forgetting_pooler])
async def test_a_pooler_nobody_declared_is_found_out(database_url: str, logged: list[Any], edit: Edit) -> None:
    async with Proxy(database_url, to_server=edit) as proxy, opened(proxy.url(), database_pool_max=3) as db_:
        async with db_.connection() as db:
            assert await db.fetchval("SHOW plan_cache_mode") == "auto"
            await db.fetchval("SELECT $1::int", 1)
            assert await db.fetchval("SELECT count(*) FROM pg_prepared_statements") <= 1
        assert all(await asyncio.gather(*(db_.ping() for _ in range(3))))
    assert database_events(logged) == ["database_pooler_found", *UNAIDED]


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
    assert database_events(logged) == [*found, *(UNAIDED[:1] if keeps_statements() else UNAIDED)]


def keeps_statements() -> bool:
    """Whether the PgBouncer that is installed keeps prepared statements."""
    said = subprocess.run([program("pgbouncer"), "--version"], capture_output=True, text=True, check=True).stdout
    return Version(said.split()[1]) >= Version("1.21")


async def test_statements_stay_prepared_behind_a_pooler_that_keeps_them(
    database_url: str, tmp_path: Path, logged: list[Any]
) -> None:
    if not keeps_statements():
        pytest.skip("PgBouncer 1.21 or newer is not installed")
    async with pgbouncer(database_url, tmp_path) as url, opened(f"{url}?pgbouncer=true", database_pool_max=8) as db_:

        async def request(number: int) -> list[str]:
            async with db_.transaction() as db:
                assert await db.fetchval("SELECT $1::int + 1", number) == number + 1
                return [row[0] for row in await db.fetch("SELECT name FROM pg_prepared_statements ORDER BY name")]

        names = await asyncio.gather(*(request(number) for number in range(60)))
    assert all(name.startswith("PGBOUNCER_") for name in names[-1])
    assert len(names[-1]) >= 2
    assert database_events(logged) == UNAIDED[:1]


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
async def test_statements_go_on_while_their_table_is_changed(postgres_url: str, tmp_path: Path, pooled: bool) -> None:
    """As migrations change tables; the type of a column stays, since a pooler keeps the old description of a result."""
    if pooled and not keeps_statements():
        pytest.skip("PgBouncer 1.21 or newer is not installed")
    async with AsyncExitStack() as stack:
        own = url = await stack.enter_async_context(temporary_database(postgres_url))
        if pooled:
            url = await stack.enter_async_context(pgbouncer(own, tmp_path)) + "?pgbouncer=true"
        await run_sql(own, "CREATE TABLE numbers AS SELECT 7 AS number, 8 AS other")
        database = await stack.enter_async_context(opened(url, database_pool_max=4))

        async def read(value: int) -> object:
            async with database.transaction() as db:
                await db.execute("UPDATE numbers SET number = $1 WHERE number = $2", value, value)
                return await db.fetchval("SELECT number FROM numbers WHERE number >= $1", value)

        for change in (
            "SELECT 1", "ALTER TABLE numbers ADD added text DEFAULT 'a'", "CREATE INDEX ON numbers (number)",
            "ALTER TABLE numbers DROP other", "ALTER TABLE numbers ADD CHECK (number > 0)", "ANALYZE numbers",
        ):  # fmt: skip
            await run_sql(own, change)
            assert await asyncio.gather(*(read(7) for _ in range(20))) == [7] * 20, change


async def test_a_type_that_changes_is_noticed_without_a_pooler(postgres_url: str) -> None:
    async with temporary_database(postgres_url) as url, opened(url) as database:
        await run_sql(url, "CREATE TABLE numbers AS SELECT 7 AS number")
        for kind, value in (("int4", 7), ("text", "7"), ("float8", 7.0)):
            await run_sql(url, f"ALTER TABLE numbers ALTER number TYPE {kind} USING number::{kind}")
            async with database.connection() as db:
                assert await db.fetchval("SELECT number FROM numbers") == value


async def test_a_pooler_is_taken_at_its_word(database_url: str, logged: list[Any]) -> None:
    async with Proxy(database_url) as proxy:
        url = proxy.url() + "pgbouncer=true&prepared_statements=true&statement_cache_size=3"
        async with opened(url, database_pool_max=1) as db_, db_.connection() as db:
            for number in range(9):
                await db.fetchval(f"SELECT $1::int + {number}", 1)
            assert await db.fetchval("SELECT count(*) FROM pg_prepared_statements") == 3
    assert "database_pooler_forgets_statements" not in database_events(logged)


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
