"""`bin/distribute`: on one server, and on one that has the functions of Citus by name; a cluster is tried by hand."""

from argparse import Namespace
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.client import PASSWORD
from tests.commands.test_users import run
from tests.conftest import as_serving_role, make_settings, run_sql, running_service, template_name, temporary_database
from tests.routes.test_sessions import rows
from todo_service.commands import distribute, migrate
from todo_service.commands.command import CommandError
from todo_service.postgres import citus, distribution

BY_NAME = """
CREATE TABLE pg_dist_partition (logicalrelid regclass);
CREATE FUNCTION citus_get_active_worker_nodes() RETURNS SETOF integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION create_distributed_table(name regclass, by text, colocate_with text) RETURNS void
    LANGUAGE sql AS 'INSERT INTO pg_dist_partition VALUES (name)';
CREATE FUNCTION truncate_local_data_after_distributing_table(regclass) RETURNS void LANGUAGE sql AS '';
"""
LAYOUT = """
SELECT conname FROM pg_constraint WHERE conrelid = ANY ('{users, tasks, refresh_tokens}'::regclass[])
UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"""


@pytest_asyncio.fixture
async def url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A database that looks like a coordinator's."""
    monkeypatch.setattr(citus, "SELECT_IS_PRESENT", "SELECT true")
    monkeypatch.setattr(distribution, "SET_VISIBILITY", "ALTER DATABASE {database} SET jit = off")
    async with temporary_database(postgres_url, template=template_name()) as url:
        await run_sql(url, BY_NAME)
        yield url


async def test_a_database_of_one_server_is_told_what_is_missing(postgres_url: str) -> None:
    async with temporary_database(postgres_url, template=template_name()) as url:
        for options in ([], ["--dry-run"]):
            done = await run("distribute", *options, DATABASE_URL=url)
            assert (done.returncode, done.stdout) == (1, "")
            assert "CREATE EXTENSION citus" in done.stderr


async def test_an_older_schema_is_migrated_first(postgres_url: str) -> None:
    async with temporary_database(postgres_url) as url:
        done = await run("distribute", DATABASE_URL=url)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "bin/migrate up first" in done.stderr


async def test_tables_are_spread_once_and_keep_their_keys(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings, before = make_settings(url), {name for (name,) in await rows(url, LAYOUT)}
    assert await distribute._distribute(Namespace(dry_run=True), settings) == 0
    printed = capsys.readouterr().out
    assert {name for (name,) in await rows(url, LAYOUT)} == before
    assert await distribute._distribute(Namespace(dry_run=False), settings) == 0
    assert capsys.readouterr().out.startswith(printed)
    gone = {"users_email_key_unique", "users_keep_account_emails"}
    assert {name for (name,) in await rows(url, LAYOUT)} == before - gone
    spread = {name for (name,) in await rows(url, "SELECT logicalrelid::text FROM pg_dist_partition")}
    assert spread == set(distribution.COLUMNS)
    assert await distribute._distribute(Namespace(dry_run=False), settings) == 0
    assert capsys.readouterr().out.startswith("all tables are distributed already\n")


async def test_without_a_worker_or_with_a_table_in_use_nothing_is_done(url: str) -> None:
    settings, before = make_settings(url), await rows(url, LAYOUT)
    await run_sql(url, "ALTER FUNCTION citus_get_active_worker_nodes() RENAME TO others")
    await run_sql(
        url, "CREATE FUNCTION citus_get_active_worker_nodes() RETURNS SETOF int LANGUAGE sql AS 'SELECT 1 LIMIT 0'"
    )
    with pytest.raises(Exception, match="citus_add_node"):
        await distribute._distribute(Namespace(dry_run=False), settings)
    await run_sql(url, "DROP FUNCTION citus_get_active_worker_nodes()")
    await run_sql(url, "ALTER FUNCTION others() RENAME TO citus_get_active_worker_nodes")
    db = await asyncpg.connect(url)
    async with db.transaction():
        await db.execute("LOCK TABLE users IN ROW EXCLUSIVE MODE")
        with pytest.raises(CommandError, match="Stop every running service"):
            await distribute._distribute(Namespace(dry_run=False), settings)
    await db.close()
    assert await rows(url, LAYOUT) == before


async def test_in_that_layout_an_email_has_one_account_until_its_end(url: str) -> None:
    await distribute._distribute(Namespace(dry_run=False), make_settings(url))
    async with running_service(make_settings(as_serving_role(url))) as api:
        for _ in range(2):
            registered = await api.post("/api/auth/signup", {"email": "ada@example.com", "password": PASSWORD})
            assert registered.status == 201
            again = await api.post("/api/v1/auth/register", {"email": "ADA@example.com", "password": PASSWORD})
            assert (again.status, again.problem()) == (400, "email-already-registered")
            assert (
                await api.delete("/api/v1/auth/me", body={"password": PASSWORD}, token=registered.body["token"])
            ).status == 204


async def test_later_migrations_spread_new_tables(url: str) -> None:
    settings = make_settings(url)
    await distribute._distribute(Namespace(dry_run=False), settings)
    await run_sql(url, "DELETE FROM pg_dist_partition WHERE logicalrelid = 'ended_sessions'::regclass")
    assert await migrate._act(Namespace(action="up"), settings) == 0
    assert len(await rows(url, "SELECT FROM pg_dist_partition")) == len(distribution.COLUMNS)
