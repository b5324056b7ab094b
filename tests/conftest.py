"""A real PostgreSQL for every test: one server a run, a migrated template, a clone of it for each worker."""

import asyncio
import hashlib
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
import structlog
from aiohttp import ClientSession, web
from structlog.testing import LogCapture

from tests.client import Api, User
from tests.valkey import Valkey
from todo_service.app import build_app
from todo_service.config.settings import Settings
from todo_service.limits import rate_redis
from todo_service.observability import event_loop
from todo_service.postgres import connector, database, embedded, grants, migrations, pooler, primary_watch
from todo_service.postgres.connection import Connection
from todo_service.server.runner import Runner, bind

pytest_plugins = ("tests.time_limit",)

SERVER = "TEST_POSTGRES_URL"
ENCRYPTION_KEY = "b4k6YlVhTqYQxWq8yZ0b1QmVbq0cKk1mX3y5jv7hR9A="
SECRET_KEY = "for-tests-only-0123456789-abcdefghijk"
SERVING_ROLE = "todo_app"
DATA_DIR = Path(tempfile.gettempdir()) / f"todo-test-data-{os.getpid()}"  # of the messages that are not sent
FIGURE = "figure"
Figure = Callable[[str], None]


def pytest_configure(config: pytest.Config) -> None:
    """The run's first process starts PostgreSQL and makes the template; the workers inherit its address."""
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)
    _handle_ignored_signals()
    config.add_cleanup(partial(shutil.rmtree, DATA_DIR, ignore_errors=True))
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    resources = ExitStack()
    config.add_cleanup(resources.close)
    folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="todo-test-"))
    os.environ[SERVER] = resources.enter_context(embedded.running(Path(folder) / "postgres", durable=False))
    asyncio.run(_make_template(os.environ[SERVER]))


def _handle_ignored_signals() -> None:
    """Let programs that tests start have the default for SIGINT and SIGHUP, which background jobs and nohup ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # a handler is not inherited by another program


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests have measured, at the end of the run."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    figures = [
        f"{report.nodeid}: {text}"
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, text in report.user_properties
        if name == FIGURE
    ]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write("\n".join([*sorted(figures), ""]))


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Tells a figure that the test has measured."""
    return partial(record_property, FIGURE)


def template_name() -> str:
    """A migrated database's name, another one for other migrations."""
    content = b"".join(path.read_bytes() for path in sorted(migrations.FOLDER.glob("*.sql")))
    return "template_" + hashlib.sha256(content).hexdigest()[:16]


def sibling(url: str, database: str) -> str:
    """The URL of another database of the same server."""
    return url.rpartition("/")[0] + "/" + database


async def run_sql(url: str, sql: str) -> None:
    """One statement on a connection of its own."""
    db = await asyncpg.connect(url)
    try:
        await db.execute(sql)
    finally:
        await db.close()


@asynccontextmanager
async def temporary_database(server_url: str, *, template: str = "template1", options: str = "") -> AsyncIterator[str]:
    """A database of its own for a test that needs one, with `options` of CREATE DATABASE; yields its URL."""
    name = f"test_{secrets.token_hex(6)}"
    await run_sql(server_url, f"CREATE DATABASE {name} TEMPLATE {template} {options}")
    yield sibling(server_url, name)
    await _drop(server_url, name)


async def _drop(server_url: str, name: str) -> None:
    """Drop a database, as soon as the server itself is not cleaning up in there."""
    try:
        await run_sql(server_url, f"DROP DATABASE {name} WITH (FORCE)")
    except asyncpg.InsufficientPrivilegeError:
        await asyncio.sleep(0.1)
        await _drop(server_url, name)


async def fill(database_url: str, user_id: str, *, count: int = 10_000, description: str = "") -> None:
    """Give a user many tasks at once."""
    await run_sql(
        database_url,
        f"""INSERT INTO tasks
        (user_id, id, title, description, status, priority, tags, created_at, updated_at, version)
        SELECT '{user_id}', gen_random_uuid(), 'a title of some length', '{description}', 'TODO', 'LOW', '{{a,b}}',
            now(), now(), n
        FROM generate_series(1, {count}) AS n;
        UPDATE task_clocks SET
            task_count = (SELECT count(*) FROM tasks WHERE user_id = '{user_id}'),
            version = greatest(version, (SELECT max(version) FROM tasks WHERE user_id = '{user_id}'))
        WHERE user_id = '{user_id}'""",
    )


async def _make_template(server_url: str) -> None:
    await run_sql(server_url, f"CREATE DATABASE {template_name()}")
    await run_sql(server_url, f"CREATE ROLE {SERVING_ROLE} LOGIN PASSWORD '{urlsplit(server_url).password}'")
    db = await asyncpg.connect(sibling(server_url, template_name()))
    try:
        await migrations.up(db, migrations.find())
        tables = migrations.tables(migrations.find())
        await grants.grant(db, SERVING_ROLE, tables, session_table="user_sessions")
    finally:
        await db.close()


def as_serving_role(database_url: str) -> str:
    """The URL for the role that may change rows and no table."""
    parts = urlsplit(database_url)
    return parts._replace(netloc=parts.netloc.replace(f"{parts.username}:", f"{SERVING_ROLE}:", 1)).geturl()


def make_settings(database_url: str, **others: object) -> Settings:
    """Settings as a development environment would give them, with the cheapest bcrypt and without rate limits. API keys
    are kept, but no provider is there.
    """
    usual: dict[str, object] = {
        "secret_key": SECRET_KEY,
        "bcrypt_rounds": 4,
        "rate_limit_enabled": False,
        "drain_seconds": 0,
    }
    usual |= {"data_dir": DATA_DIR}
    usual |= {"encryption_key": ENCRYPTION_KEY, "gemini_base_url": "https://127.0.0.1:1"}
    return Settings.model_validate({"database_url": database_url, **usual, **others})


@asynccontextmanager
async def running_service(settings: Settings) -> AsyncIterator[Api]:
    """The whole service on a port of its own."""
    runner = Runner(build_app(settings))
    await runner.setup()
    listener = bind("127.0.0.1", 0)
    await web.SockSite(runner, listener).start()
    host, port = listener.getsockname()
    try:
        async with ClientSession() as session:
            yield Api(session, f"http://{host}:{port}")
    finally:
        await runner.cleanup()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The log of the database, its connections and the event-loop monitor from now on, whatever other tests set up."""
    capture = LogCapture()
    for module in (connector, database, event_loop, pooler, primary_watch):
        monkeypatch.setattr(module, "log", structlog.wrap_logger(structlog.PrintLogger(), processors=[capture]))
    return capture.entries


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The test server; its role may create databases."""
    return os.environ[SERVER]


@pytest_asyncio.fixture(scope="session")
async def database_url(postgres_url: str) -> AsyncIterator[str]:
    """This worker's migrated database."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        yield url


@pytest_asyncio.fixture(scope="session")
async def api(database_url: str) -> AsyncIterator[Api]:
    """The service on this worker's database, as a role that owns nothing. Every test makes its own users and sees no
    others.
    """
    async with running_service(make_settings(as_serving_role(database_url))) as running:
        yield running


@pytest_asyncio.fixture
async def ada(api: Api) -> User:
    """A user."""
    return await api.new_user()


@pytest_asyncio.fixture
async def bob(api: Api) -> User:
    """Another user."""
    return await api.new_user()


@pytest_asyncio.fixture
async def db(database_url: str) -> AsyncIterator[Connection]:
    """A connection whose changes are taken back after the test."""
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A server that is running."""
    server = Valkey(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis may take its time: on a busy machine it does, and then what is exact without it would not be."""
    monkeypatch.setattr(rate_redis, "PATIENCE", 9)
