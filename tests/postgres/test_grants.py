"""The role that serves: it reads and writes rows, and can change no table and no entry of the audit log."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests.commands.test_users import run
from tests.conftest import SERVING_ROLE, as_serving_role, run_sql, template_name, temporary_database
from todo_service.postgres import grants, migrations

TABLES = migrations.tables(migrations.find())


@pytest_asyncio.fixture
async def url(postgres_url: str) -> AsyncIterator[str]:
    async with temporary_database(postgres_url, template=template_name()) as url:
        yield url


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (id int)", "ALTER TABLE tasks ADD COLUMN more int", "DROP TABLE tasks", "TRUNCATE tasks",
        "CREATE INDEX more ON tasks (title)", "CREATE SCHEMA more", "CREATE ROLE more",
        "UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log", "DELETE FROM schema_migrations",
        "INSERT INTO user_sessions (id) VALUES ('x')",
    ],
)  # fmt: skip
async def test_what_the_role_cannot_do(url: str, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run_sql(as_serving_role(url), statement)


async def test_tables_of_later_migrations_are_granted_too(url: str) -> None:
    await run_sql(url, "CREATE TABLE later (id int)")
    await run_sql(as_serving_role(url), "INSERT INTO later VALUES (1)")


async def test_it_is_granted_by_the_command_as_often_as_one_likes(postgres_url: str) -> None:
    role = f"Odd role {secrets.token_hex(4)}"
    await run_sql(postgres_url, f'CREATE ROLE "{role}"')
    async with temporary_database(postgres_url) as url:
        assert (await run("migrate", "up", DATABASE_URL=url)).returncode == 0
        for _ in range(2):
            done = await run("migrate", "grants", role, DATABASE_URL=url)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout == f"{role} may serve: it reads and writes rows, and changes no table\n"
        db = await asyncpg.connect(url)
        assert await db.fetchval("SELECT has_table_privilege($1, 'tasks', 'DELETE')", role)
        await db.close()
    await run_sql(postgres_url, f'DROP ROLE "{role}"')


async def test_the_role_is_made_with_a_password_and_given_another(postgres_url: str, tmp_path: Path) -> None:
    role, file = f"made {secrets.token_hex(4)}", tmp_path / "password"
    async with temporary_database(postgres_url, template=template_name()) as url:
        for password in ("it's one", "another"):
            file.write_text(f"{password}\n")
            done = await run("migrate", "grants", role, "--password-file", str(file), DATABASE_URL=url)
            assert (done.returncode, done.stderr) == (0, "")
            db = await asyncpg.connect(url, user=role, password=password)
            assert await db.fetchval("SELECT count(*) FROM tasks") == 0
            await db.close()
        db = await asyncpg.connect(url)
        await db.execute(f'GRANT "{role}" TO CURRENT_USER WITH INHERIT TRUE')
        await db.execute(f'DROP OWNED BY "{role}"')
        await db.close()
    await run_sql(postgres_url, f'DROP ROLE "{role}"')


@pytest.mark.parametrize(("role", "word"), [("nobody-there", "CREATE ROLE"), ("todo", "owns the tables")])
async def test_a_role_that_cannot_be_meant_is_one_line(url: str, role: str, word: str) -> None:
    done = await run("migrate", "grants", role, DATABASE_URL=url)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert word in done.stderr


async def test_a_table_of_an_auth_server_is_left_to_its_owner(postgres_url: str) -> None:
    owner = f"owner_{secrets.token_hex(4)}"
    await run_sql(postgres_url, f"CREATE ROLE {owner}")
    await run_sql(postgres_url, f"GRANT {owner} TO CURRENT_USER WITH SET TRUE, INHERIT TRUE")
    async with temporary_database(postgres_url, template=template_name(), options=f"OWNER {owner}") as url:
        db = await asyncpg.connect(url)
        try:
            for table in {*TABLES} - {"user_sessions"}:
                await db.execute(f"ALTER TABLE {table} OWNER TO {owner}")
            await db.execute(f"SET ROLE {owner}")
            left = await grants.grant(db, SERVING_ROLE, TABLES, session_table="user_sessions")
            assert left == set(), "it was granted before"
            await db.execute("RESET ROLE")
            await db.execute(f"REVOKE ALL ON user_sessions FROM {SERVING_ROLE}")
            await db.execute("CREATE SCHEMA auth CREATE TABLE session (token text)")
            await db.execute(f"SET ROLE {owner}")
            for table in ("user_sessions", "auth.session"):
                assert await grants.grant(db, SERVING_ROLE, TABLES, session_table=table) == {table}
        finally:
            await db.close()
    await run_sql(postgres_url, f"DROP ROLE {owner}")


async def test_an_upgrade_renews_the_rights_of_the_roles_that_serve(url: str) -> None:
    assert (await run("migrate", "down", "1", DATABASE_URL=url)).returncode == 0
    await run_sql(url, f"REVOKE ALL ON audit_log FROM {SERVING_ROLE}")
    await run_sql(url, f"GRANT SELECT, INSERT ON audit_log TO {SERVING_ROLE}")
    done = await run("migrate", "up", DATABASE_URL=url)
    assert (done.returncode, f"{SERVING_ROLE} has the rights" in done.stdout) == (0, True)
    await run_sql(as_serving_role(url), "UPDATE audit_log SET sequence = 1, seal = ''")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run_sql(as_serving_role(url), "DELETE FROM token_epochs")


async def test_a_backup_can_be_made_as_the_role(url: str, tmp_path: Path) -> None:
    done = await run("backup", str(tmp_path / "todo.dump"), DATABASE_URL=as_serving_role(url))
    assert (done.returncode, done.stderr) == (0, "")


async def test_after_a_restore_the_grants_are_as_few_as_before(url: str, tmp_path: Path) -> None:
    file = str(tmp_path / "todo.dump")
    assert (await run("backup", file, DATABASE_URL=url)).returncode == 0
    assert (await run("restore", file, "--replace", "--yes", DATABASE_URL=url)).returncode == 0
    assert (await run("migrate", "grants", SERVING_ROLE, DATABASE_URL=url)).returncode == 0
    for statement in ("UPDATE audit_log SET action = 'x'", "DELETE FROM schema_migrations"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await run_sql(as_serving_role(url), statement)
    await run_sql(as_serving_role(url), "DELETE FROM tasks")
