"""The pool against a real PostgreSQL, with proxies between that freeze, cut, count and behave like poolers."""

import asyncio
import errno
import os
import shutil
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
import structlog
from structlog.testing import LogCapture

from tests.conftest import temporary_database
from todo_service import connect, database, dsn
from todo_service.connect import CannotConnectError
from todo_service.database import TIMING, Database, Timing, single_connection, unavailable
from todo_service.settings import Settings

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
Edit = Callable[[bytes], bytes]
REPLY = b"to the client: "
PROTOCOL = struct.pack("!hh", 3, 0)
OURS = "datname = current_database() AND application_name = 'Todo Pool'"


class Proxy:
    """A TCP server on loopback before PostgreSQL. `turns` counts messages to the server that waited for its answer."""

    def __init__(self, url: str, *, to_server: Edit = bytes, to_client: Edit = bytes) -> None:
        self.target = dsn.parse(url)
        self.edits = to_server, to_client
        self.turns = 0
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = free_port()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, *hosts: str, query: str = "", password: str | None = None, name: str | None = None) -> str:
        user, secret = self.target.user or "", password or self.target.password or ""
        database_name = name or self.target.database or ""
        return f"postgres://{quote(user)}:{quote(secret)}@{','.join(hosts or (self.address,))}/{database_name}?{query}"

    async def __aenter__(self) -> "Proxy":
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.close()
        self.cut()
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        await self.server.wait_closed()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self.writers.add(writer)
        with suppress(OSError, asyncio.CancelledError):
            upstream_reader, upstream = await self.upstream()
            self.writers.add(upstream)
            await asyncio.gather(self.ask(reader, upstream, writer), self.answer(upstream_reader, writer))
        writer.transport.abort()

    async def upstream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.target.hosts[0]
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def ask(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            await self.thawed.wait()
            self.turns += 1
            edited = self.edits[0](data)
            (client if edited.startswith(REPLY) else upstream).write(edited.removeprefix(REPLY))
        upstream.transport.abort()

    async def answer(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.thawed.wait()
            client.write(self.edits[1](data))
        client.transport.abort()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **{"database_pool_min": 0, **values})


@asynccontextmanager
async def opened(url: str, names: dict[str, str] | None = None, **values: Any) -> AsyncIterator[Database]:
    instance = Database(settings(**values), url=url, statement_names=names or {})
    await instance.open()
    try:
        yield instance
    finally:
        await instance.close()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the two modules log, whatever the logging set-up of other tests."""
    capture = LogCapture()
    for module in (connect, database):
        monkeypatch.setattr(module, "log", structlog.wrap_logger(structlog.PrintLogger(), processors=[capture]))
    return capture.entries


@pytest.fixture
async def failures() -> AsyncIterator[list[Any]]:
    """Complaints that reach the event loop's handler, such as exceptions that nobody awaited."""
    found: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: found.append(context))
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


async def test_each_request_is_told_its_own_database_time(database_url: str) -> None:
    async def request(count: int) -> Timing:
        TIMING.set(timing := Timing())
        for _ in range(count):
            async with db_.connection() as db:
                await db.fetchval("SELECT pg_sleep(0.01)")
        return timing

    async with opened(database_url, database_pool_max=2) as db_:
        timings = await asyncio.gather(*(asyncio.create_task(request(count)) for count in (1, 2, 3)))
    assert [timing.statements for timing in timings] == [1, 2, 3]
    assert all(timing.seconds >= 0.01 * timing.statements for timing in timings)
    assert TIMING.get() is None


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
        assert unavailable(slow.value)
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
        await asyncio.sleep(2 * database.CANCEL_SECONDS)
        assert all(await asyncio.gather(*(db_.ping() for _ in range(8))))
        async with db_.connection() as db:
            count = f"SELECT count(*) FROM pg_stat_activity WHERE {OURS} AND state LIKE 'idle in%'"
            assert await db.fetchval(count) == 0


async def test_the_floor_is_kept_open(database_url: str) -> None:
    values: dict[str, Any] = {"database_pool_min": 3, "database_pool_recycle": 0.4, "app_name": "Todo Pool"}
    async with opened(database_url, **values) as db_:
        await asyncio.sleep(1)
        async with db_.connection() as db:
            assert await db.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}") == 3


async def test_a_single_connection_has_no_deadlines(database_url: str) -> None:
    async with single_connection(settings(), url=database_url) as db:
        assert await db.fetchval("SHOW statement_timeout") == "0"
    with pytest.raises(CannotConnectError, match="Nothing listens"):
        async with single_connection(settings(), url=f"postgres://127.0.0.1:{free_port()}/x"):
            pass


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
            assert unavailable(away.value)
        async with proxy:
            assert await db_.ping()
            proxy.cut()
            await asyncio.sleep(0.05)
            assert await db_.ping()
    events = [entry["event"] for entry in logged]
    assert events == ["database unreachable", "database reachable again"]
    assert "Nothing listens" in logged[0]["reason"]
    assert failures == []
    assert caplog.records == []


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
        assert await answered(db_)
    assert failures == []


async def answered(db_: Database) -> bool:
    for _ in range(50):
        if await db_.ping():
            return True
        await asyncio.sleep(0.02)
    return False


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
        assert await answered(db_)


async def test_closing_is_bounded(database_url: str, monkeypatch: pytest.MonkeyPatch, logged: list[Any]) -> None:
    monkeypatch.setattr(database, "CLOSE_SECONDS", 0.2)
    instance = Database(settings(), url=database_url)
    await instance.open()
    block = instance.connection()
    await block.__aenter__()
    started = time.monotonic()
    await instance.close()
    await instance.close()
    assert time.monotonic() - started < 1
    assert logged[-1]["event"] == "database connections closed by force"
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
        assert unavailable(failover.value)
        after = set(await asyncio.gather(pid(), pid(), pid()))
    assert len(before) == len(after) == 3
    assert not before & after


# Several hosts.


async def test_a_host_that_refuses_is_passed_over(database_url: str, logged: list[Any]) -> None:
    proxy = Proxy(database_url)
    async with proxy, opened(proxy.url(f"127.0.0.1:{free_port()}", proxy.address)) as db_:
        assert await db_.ping()
    assert all(entry["event"] == "database url" for entry in logged)


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


@pytest.mark.parametrize("edit", [refusing_pooler, forgetting_pooler])
async def test_a_pooler_nobody_declared_is_found_out(database_url: str, logged: list[Any], edit: Edit) -> None:
    async with Proxy(database_url, to_server=edit) as proxy, opened(proxy.url(), database_pool_max=3) as db_:
        async with db_.connection() as db:
            assert await db.fetchval("SHOW plan_cache_mode") == "auto"
            await db.fetchval("SELECT $1::int", 1)
            assert await db.fetchval("SELECT count(*) FROM pg_prepared_statements") <= 1
        assert all(await asyncio.gather(*(db_.ping() for _ in range(3))))
    assert [entry["event"] for entry in logged] == ["database pooler found"]


@pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")
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
    assert [entry["event"] for entry in logged] == ([] if declared else ["database pooler found"])


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
        *as_other, str(PGBOUNCER), "-q", str(folder / "pgbouncer.ini"), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", proxy.port))[1].transport.abort()
                break
            await asyncio.sleep(0.05)
        yield proxy.url().removesuffix("?")
    finally:
        process.kill()
        await process.wait()


# Words and verdicts.


@pytest.mark.parametrize(
    ("url", "warned"), [("postgres://db.internal/todo", True), ("postgres://db.internal/todo?sslmode=require", False)]
)
async def test_production_says_loudly_that_a_connection_may_be_plain(url: str, warned: bool, logged: list[Any]) -> None:
    production = settings().model_copy(update={"environment": "production", "database_acquire_timeout": 0.05})
    instance = Database(production, url=url)
    await instance.open()
    await instance.close()
    assert any("UNENCRYPTED" in entry["event"] for entry in logged) is warned


def test_tls_follows_the_mode(tmp_path: Path) -> None:
    assert connect.tls(dsn.parse("postgres://h/db")) is None
    assert connect.tls(dsn.parse("postgres://h/db?sslmode=prefer")) == "prefer"
    required, full = (
        connect.tls(dsn.parse(f"postgres://h/db?{query}")) for query in ("ssl=true", "sslrootcert=system")
    )
    assert isinstance(required, ssl.SSLContext)
    assert isinstance(full, ssl.SSLContext)
    assert (required.verify_mode, required.check_hostname) == (ssl.CERT_NONE, False)
    assert (full.verify_mode, full.check_hostname) == (ssl.CERT_REQUIRED, True)
    (broken := tmp_path / "root.crt").write_text("not a certificate")
    with pytest.raises(ValueError, match="PEM"):
        connect.tls(dsn.parse(f"postgres://h/db?sslrootcert={broken}"))


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionRefusedError(),
        ConnectionResetError(),
        CannotConnectError("x"),
        socket.gaierror(socket.EAI_NONAME, "x"),
        ssl.SSLError(1, "x"),
        OSError("Multiple exceptions"),
        OSError(errno.EHOSTUNREACH, "x"),
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.TooManyConnectionsError("x"),
        asyncpg.DiskFullError("x"),
        asyncpg.AdminShutdownError("x"),
        asyncpg.CrashShutdownError("x"),
        asyncpg.QueryCanceledError("x"),
        asyncpg.LockNotAvailableError("x"),
        asyncpg.ReadOnlySQLTransactionError("x"),
        asyncpg.IdleInTransactionSessionTimeoutError("x"),
        asyncpg.SerializationError("x"),
        asyncpg.DeadlockDetectedError("x"),
        asyncpg.InvalidCachedStatementError("x"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InterfaceError("pool is closing"),
        asyncpg.InternalClientError("not connected"),
    ],
    ids=repr,
)
def test_what_time_may_heal_is_unavailable(error: Exception) -> None:
    assert unavailable(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        FileNotFoundError(errno.ENOENT, "x"),
        PermissionError(errno.EACCES, "x"),
        asyncio.CancelledError(),
        asyncpg.UniqueViolationError("x"),
        asyncpg.UndefinedTableError("x"),
        asyncpg.DataError("x"),
        asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
    ],
    ids=repr,
)
def test_a_mistake_is_not_unavailable(error: BaseException) -> None:
    assert not unavailable(error)


@pytest.mark.parametrize("arguments", [(), ("a",), (1, 2)])
async def test_wrong_arguments_are_not_unavailable(database_url: str, arguments: tuple[Any, ...]) -> None:
    async with opened(database_url) as db_, db_.connection() as db:
        with pytest.raises((asyncpg.InterfaceError, asyncpg.DataError)) as mistake:
            await db.fetchval("SELECT $1::int", *arguments)
    assert not unavailable(mistake.value)
