"""`bin/restore`: all or nothing; what was acknowledged before the backup is there, old sync cursors are 410."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.client import PASSWORD, Api, User
from tests.commands.test_users import SETTINGS, run
from tests.conftest import fill, make_settings, run_sql, running_service, template_name, temporary_database
from tests.replica import SYNC
from tests.routes.test_sessions import refresh, rows
from todo_service.commands import restore
from todo_service.commands.dump_files import Dump, DumpError
from todo_service.config.settings import ROOT
from todo_service.postgres import client_binaries, migrations
from todo_service.postgres.client_binaries import Program

KNOWN = migrations.find()
WRITERS = 4
EVERYTHING = "SELECT user_id, id, title, version FROM tasks ORDER BY user_id, id"
UNCHANGED = "The database is as it was."
SLOW = 60_000  # tasks: enough to be met while they are loaded


@pytest_asyncio.fixture
async def empty_url(postgres_url: str) -> AsyncIterator[str]:
    async with temporary_database(postgres_url) as url:
        yield url


@pytest_asyncio.fixture
async def full_url(postgres_url: str) -> AsyncIterator[str]:
    """A database with two users and three tasks."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        await with_tasks(url, "ada", 2)
        await with_tasks(url, "bob", 1)
        yield url


async def with_tasks(url: str, user_id: str, count: int) -> None:
    await run_sql(url, f"INSERT INTO users (id) VALUES ('{user_id}')")
    clock = f"INSERT INTO task_clocks (user_id, version, task_count) VALUES ('{user_id}', {count}, {count})"
    await run_sql(url, clock)
    await fill(url, user_id, count=count)


async def backup(url: str, folder: Path) -> str:
    done = await run("backup", str(folder / "todo.dump"), "--force", DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    return str(folder / "todo.dump")


async def failed(url: str, *arguments: str) -> str:
    """What a restore that is refused says, in one line; progress is not counted."""
    done = await run("restore", *arguments, DATABASE_URL=url)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (1, "", False)
    return done.stderr.splitlines()[-1]


async def test_what_was_acknowledged_before_is_there_and_old_cursors_are_gone(
    postgres_url: str, empty_url: str, tmp_path: Path
) -> None:
    acknowledged: list[tuple[User, str]] = []
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        running_service(make_settings(url)) as api,
    ):
        users = [await api.new_user() for _ in range(WRITERS)]
        cursors = [(await api.get(SYNC, as_=user)).body["cursor"] for user in users]
        writers = [asyncio.create_task(write(api, user, acknowledged)) for user in users]
        while len(acknowledged) < 40:
            await asyncio.sleep(0.05)
        before = list(acknowledged)
        file = await backup(url, tmp_path)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        late = [(await api.get(SYNC, as_=user)).body["cursor"] for user in users]
        assert len(acknowledged) > len(before), "the service went on meanwhile"
    done = await run("restore", file, "--json", DATABASE_URL=empty_url)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["users"], told["tables_dropped"], told["migrations_applied"], told["missing"]) == (WRITERS, 0, 0, [])
    async with running_service(make_settings(empty_url)) as api:
        for user, cursor, later in zip(users, cursors, late, strict=True):
            signed_in = await api.post("/api/v1/auth/login", {"email": user.email, "password": PASSWORD})
            assert signed_in.status == 200
            assert (await api.get("/api/v1/tasks", as_=user)).status == 401, "a token of before"
            assert (await refresh(api, user.refresh_token)).status == 401
            user = User(user.id, user.email, signed_in.body["access_token"])
            found = (await api.get("/api/v1/tasks?limit=1000", as_=user)).body
            ids = {task["id"] for task in found["tasks"]}
            assert {task_id for owner, task_id in before if owner == user} <= ids
            assert sorted(task["version"] for task in found["tasks"]) == list(range(1, len(ids) + 1)), "one moment"
            assert found["total"] == len(ids)
            for old in (cursor, later):
                answer = await api.get(f"{SYNC}?cursor={old}", as_=user)
                assert (answer.status, answer.problem()) == (410, "cursor-expired")
            assert len((await api.get(f"{SYNC}?limit=1000", as_=user)).body["changes"]) == len(ids)
            assert (await api.post("/api/v1/tasks", {"title": "after"}, as_=user)).body["version"] > 1_000_000
    assert len(await rows(empty_url, EVERYTHING)) == told["tasks"] + WRITERS


async def write(api: Api, user: User, acknowledged: list[tuple[User, str]]) -> None:
    while True:
        answer = await api.post("/api/v1/tasks", {"title": "Ünder load\\.\n\t"}, as_=user)
        if answer.status == 429:
            await asyncio.sleep(0.5)
            continue
        assert answer.status == 201, answer.raw
        acknowledged.append((user, answer.body["id"]))


async def test_the_schema_is_the_one_of_the_migrations(full_url: str, empty_url: str, tmp_path: Path) -> None:
    file = await backup(full_url, tmp_path)
    done = await run("restore", file, DATABASE_URL=empty_url)
    assert done.stdout.startswith(f"{file} is restored: 2 users, 3 tasks; every history has a new epoch")
    assert await schema(empty_url) == await schema(full_url)
    assert await rows(empty_url, EVERYTHING) == await rows(full_url, EVERYTHING)
    assert (await run("migrate", "--check", DATABASE_URL=empty_url)).returncode == 0


async def schema(url: str) -> list[str]:
    """A database's definition, as PostgreSQL writes it."""
    program = client_binaries.find("pg_dump").path
    command = (program, "--schema-only", "--no-privileges", url)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    return [line for line in output.decode().splitlines() if "restrict" not in line]


async def test_what_is_there_is_replaced_only_when_told_to(full_url: str, tmp_path: Path) -> None:
    file = await backup(full_url, tmp_path)
    await with_tasks(full_url, "eve", 1)
    before = await rows(full_url, EVERYTHING)
    assert "--replace --yes" in await failed(full_url, file)
    doubtful = await run("restore", file, "--replace", DATABASE_URL=full_url)
    assert (doubtful.returncode, doubtful.stdout, len(doubtful.stderr.splitlines())) == (2, "", 1)
    assert await rows(full_url, EVERYTHING) == before
    done = await run("restore", file, "--replace", "--yes", "--json", DATABASE_URL=full_url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "file": file, "users": 2, "tasks": 3, "tables_dropped": 15, "migrations_applied": 0, "missing": []
    }  # fmt: skip
    assert {row["user_id"] for row in await rows(full_url, EVERYTHING)} == {"ada", "bob"}
    assert {row[0] for row in await rows(full_url, "SELECT version / 1000000 FROM task_clocks")} == {1}


async def test_a_backup_of_an_older_release_is_brought_up_to_date(
    empty_url: str, full_url: str, tmp_path: Path
) -> None:
    db = await asyncpg.connect(empty_url)
    await migrations.up(db, KNOWN[:9])
    await db.execute("INSERT INTO users (id) VALUES ('ada'); INSERT INTO task_clocks (user_id) VALUES ('ada')")
    await db.close()
    file = await backup(empty_url, tmp_path)
    done = await run("restore", file, "--replace", "--yes", "--json", DATABASE_URL=full_url)
    told = json.loads(done.stdout)
    assert (told["users"], told["migrations_applied"]) == (1, len(KNOWN) - 9), "tables that it lacks were dropped too"
    assert (await run("migrate", "--check", DATABASE_URL=full_url)).returncode == 0


@pytest.mark.parametrize("damage", ["cut", "nonsense", "missing", "folder"])
async def test_a_broken_file_changes_nothing(full_url: str, tmp_path: Path, damage: str) -> None:
    file = Path(await backup(full_url, tmp_path))
    if damage == "cut":
        await fill(full_url, "ada", count=3000)
        await run_sql(full_url, "UPDATE task_clocks SET task_count = 3002 WHERE user_id = 'ada'")
        content = Path(await backup(full_url, tmp_path)).read_bytes()
        file.write_bytes(content[: len(content) // 2])
    elif damage == "nonsense":
        file.write_text("nonsense\n" * 1000)
    else:
        file.unlink()
        if damage == "folder":
            file.mkdir()
    before = await rows(full_url, EVERYTHING)
    said = await failed(full_url, str(file), "--replace", "--yes")
    assert UNCHANGED in said or "cannot be read as a backup" in said
    assert await rows(full_url, EVERYTHING) == before


async def test_a_backup_that_does_not_agree_with_itself_changes_nothing(full_url: str, tmp_path: Path) -> None:
    for wrong, said in (("task_count = 7", "1 users have another number"), ("version = 1", "1 have changes ahead")):
        await run_sql(full_url, "UPDATE task_clocks SET task_count = 2, version = 2 WHERE user_id = 'ada'")
        await run_sql(full_url, f"UPDATE task_clocks SET {wrong} WHERE user_id = 'ada'")
        file = await backup(full_url, tmp_path)
        answer = await failed(full_url, file, "--replace", "--yes")
        assert said in answer
        assert answer.endswith(UNCHANGED)
    assert (await rows(full_url, "SELECT version FROM task_clocks WHERE user_id = 'ada'"))[0][0] == 1


@pytest.mark.parametrize("end", ["the process", "the connection"])
async def test_an_end_in_the_middle_changes_nothing(full_url: str, tmp_path: Path, end: str) -> None:
    await with_tasks(full_url, "eve", SLOW)
    file = await backup(full_url, tmp_path)
    await run_sql(full_url, "DELETE FROM users WHERE id = 'eve'")
    before = await rows(full_url, EVERYTHING)
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "bin/restore"), file, "--replace", "--yes",
        env={"PATH": "/usr/bin:/bin", **SETTINGS, "DATABASE_URL": full_url},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    pid = await until_loading(full_url)
    if end == "the process":
        process.send_signal(signal.SIGKILL)
    else:
        await run_sql(full_url, f"SELECT pg_terminate_backend({pid})")
    _, said = await asyncio.wait_for(process.communicate(), 30)
    if end == "the connection":
        assert (process.returncode, UNCHANGED in said.decode(), b"Traceback" in said) == (1, True, False)
    assert await asyncio.wait_for(rows(full_url, EVERYTHING), 20) == before
    done = await run("restore", file, "--replace", "--yes", "--json", DATABASE_URL=full_url)
    assert json.loads(done.stdout)["tasks"] == SLOW + 3


async def until_loading(url: str) -> int:
    """The backend that a restore loads through, once it does."""
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY %tasks%'"
    async with asyncio.timeout(20):
        while not (found := await rows(url, sql)):
            await asyncio.sleep(0.01)
    pid: int = found[0][0]
    return pid


async def test_tables_in_use_or_of_others_are_not_dropped(full_url: str, empty_url: str, tmp_path: Path) -> None:
    file = await backup(full_url, tmp_path)
    db = await asyncpg.connect(full_url)
    async with db.transaction():
        await db.execute("LOCK TABLE users IN ACCESS SHARE MODE")
        assert "Stop every running service" in await failed(full_url, file, "--replace", "--yes")
    await db.execute("CREATE VIEW report AS SELECT id FROM users")
    await db.close()
    assert "builds on a table of ours" in await failed(full_url, file, "--replace", "--yes")
    await run_sql(empty_url, "CREATE TABLE users (id integer)")
    assert "not ours: public.users" in await failed(empty_url, file, "--replace", "--yes")


async def test_a_table_of_an_auth_server_is_neither_copied_nor_dropped(
    postgres_url: str, empty_url: str, tmp_path: Path
) -> None:
    theirs = 'CREATE TABLE user_sessions (id text, token text, "userId" text, "expiresAt" timestamptz)'
    async with temporary_database(postgres_url) as url:
        db = await asyncpg.connect(url)
        await db.execute(theirs)
        await migrations.up(db, KNOWN)
        await db.close()
        done = await run("backup", str(tmp_path / "todo.dump"), "--json", DATABASE_URL=url)
        assert json.loads(done.stdout)["left_out"] == ["user_sessions"]
        assert "an auth server made it" in done.stderr
        await run_sql(url, "INSERT INTO user_sessions (id) VALUES ('theirs')")
        done = await run("restore", str(tmp_path / "todo.dump"), "--replace", "--yes", "--json", DATABASE_URL=url)
        assert (json.loads(done.stdout)["missing"], done.returncode) == ([], 0)
        assert len(await rows(url, "SELECT id FROM user_sessions")) == 1
    done = await run("restore", str(tmp_path / "todo.dump"), "--json", DATABASE_URL=empty_url)
    assert json.loads(done.stdout)["missing"] == ["user_sessions"]
    assert "Restore it from that server's backup" in done.stderr


OURS = frozenset(migrations.tables(KNOWN))
SUMS: dict[int, str] = {migration.number: migration.sha256 for migration in KNOWN}
FILES: list[Any] = [
    (OURS - {"tasks"}, SUMS, "no table tasks"),
    (OURS | {"account"}, SUMS, r"other tables too \(account\)"),
    (OURS, SUMS | {9999: ""}, "newer release"),
    (OURS, SUMS | {3: "0" * 64}, "other migrations than these: 0003_create_tasks"),
]


@pytest.mark.parametrize(("tables", "applied", "said"), FILES)
def test_a_file_of_another_kind_is_refused(tables: frozenset[str], applied: dict[int, str], said: str) -> None:
    archive = Dump(Path("todo.dump"), tables, 18, Program(Path("pg_restore"), 18))
    with pytest.raises(DumpError, match=said):
        restore._check(archive, applied, KNOWN)


MALICE = {
    "a function": """CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.role := 'admin'; RETURN NEW; END $$""",
    "a trigger": "CREATE TRIGGER evil BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION evil()",
    "a view": "CREATE VIEW evil AS SELECT id FROM users",
    "a rule": "CREATE RULE evil AS ON INSERT TO users DO ALSO NOTHING",
}


async def test_a_file_with_more_than_our_tables_is_refused_by_name(
    full_url: str, empty_url: str, tmp_path: Path
) -> None:
    for sql in MALICE.values():
        await run_sql(full_url, sql)
    file = str(tmp_path / "evil.dump")
    program = client_binaries.find("pg_dump").path
    process = await asyncio.create_subprocess_exec(program, "--format=custom", f"--file={file}", full_url)
    assert await process.wait() == 0
    said = await failed(empty_url, file)
    for part in ("FUNCTION public evil()", "TRIGGER public users evil", "VIEW public evil", "RULE public users evil"):
        assert part in said
    assert await rows(empty_url, "SELECT FROM pg_class WHERE relname IN ('users', 'evil')") == []
    without = await run("restore", file, "--leave-out-others", DATABASE_URL=empty_url)
    assert without.returncode == 0, without.stderr
    assert await rows(empty_url, "SELECT FROM pg_class WHERE relname = 'evil'") == []
    assert await rows(empty_url, "SELECT FROM pg_trigger WHERE tgname = 'evil'") == []


async def test_no_sql_of_a_file_is_run(full_url: str, empty_url: str, tmp_path: Path) -> None:
    """Tables of our names with more in them: a default and a check that do something, and a column of their own."""
    await run_sql(full_url, "ALTER TABLE users ALTER COLUMN role SET DEFAULT 'admin'")
    await run_sql(full_url, "ALTER TABLE tasks ADD CONSTRAINT evil CHECK (pg_sleep(0) IS NOT NULL)")
    file = await backup(full_url, tmp_path)
    assert (await run("restore", file, DATABASE_URL=empty_url)).returncode == 0
    await run_sql(empty_url, "INSERT INTO users (id) VALUES ('new')")
    assert (await rows(empty_url, "SELECT role FROM users WHERE id = 'new'"))[0][0] == "user"
    assert await rows(empty_url, "SELECT FROM pg_constraint WHERE conname = 'evil'") == []
    await run_sql(full_url, "ALTER TABLE users ADD COLUMN more text")
    said = await failed(empty_url, await backup(full_url, tmp_path), "--replace", "--yes")
    assert said.endswith(UNCHANGED)


async def test_the_ids_of_the_audit_log_go_on_after_the_highest(full_url: str, empty_url: str, tmp_path: Path) -> None:
    entry = "INSERT INTO audit_log (action, actor_id, subject_id, request_id, detail) VALUES ('x', 'a', 'b', 'r', '')"
    for _ in range(3):
        await run_sql(full_url, entry)
    file = await backup(full_url, tmp_path)
    assert (await run("restore", file, DATABASE_URL=empty_url)).returncode == 0
    await run_sql(empty_url, entry)
    assert [row[0] for row in await rows(empty_url, "SELECT id FROM audit_log ORDER BY id")] == [1, 2, 3, 4]


async def test_a_table_that_an_older_schedule_left_out_is_empty_and_named(
    full_url: str, empty_url: str, tmp_path: Path
) -> None:
    file = str(tmp_path / "todo.dump")
    program = client_binaries.find("pg_dump").path
    tables = [f"--table={name}" for name in OURS - {"ended_sessions", "token_epochs"}]
    process = await asyncio.create_subprocess_exec(program, "--format=custom", f"--file={file}", *tables, full_url)
    assert await process.wait() == 0
    done = await run("restore", file, DATABASE_URL=empty_url)
    assert (done.returncode, "ended_sessions is not in the backup" in done.stderr) == (0, True)
    assert await schema(empty_url) == await schema(full_url)
