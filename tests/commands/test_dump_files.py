"""Backups as files: what of a database is ours, and rows that are read whole from any pieces."""

import asyncio

import asyncpg
import pytest

from tests.conftest import make_settings, run_sql, temporary_database
from todo_service.commands import dump_files
from todo_service.commands.dump_files import DumpError
from todo_service.postgres import migrations
from todo_service.postgres.client_binaries import ProgramError
from todo_service.postgres.connection import Connection
from todo_service.postgres.migrations import MigrationError

KNOWN = migrations.find()
TEXT = b"SET a;\n\nCOPY public.a (b) FROM stdin;\n1\\\\.\tx\n\\\\.\n\\.\nCOPY public.b (b) FROM stdin;\n\\.\n\nEND;\n"


async def test_our_tables_are_all_there_are(db: Connection) -> None:
    """So a table of a later migration is in every backup without being named anywhere."""
    found = await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    own = await dump_files.own_tables(db, KNOWN)
    assert {table.name for table in own} == {row[0] for row in found} == set(migrations.tables(KNOWN))
    assert not any(table.is_shared for table in own)


async def test_nothing_but_tables_would_have_to_be_in_a_backup(db: Connection) -> None:
    """`pg_dump --table` takes indexes, constraints and sequences of tables along, but no functions, types and views.

    The functions of an extension come with it, and a migration adds that, as it adds the one of the trigger, and the
    view for the release before.
    """
    here = "namespace = 'public'::regnamespace"
    own = "NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')"
    functions = await db.fetch(f"SELECT proname FROM pg_proc WHERE pro{here} AND {own}")
    assert [name for (name,) in functions] == ["keep_account_emails"]
    others = await db.fetch(f"SELECT relname FROM pg_class WHERE rel{here} AND relkind NOT IN ('r', 'i', 'S')")
    assert [name for (name,) in others] == ["task_tombstones"]
    assert await db.fetchval(f"SELECT count(*) FROM pg_type WHERE typ{here} AND typtype IN ('d', 'e', 'r')") == 0


async def test_tables_of_others_and_of_newer_releases_are_refused(postgres_url: str) -> None:
    async with temporary_database(postgres_url) as url:
        db = await asyncpg.connect(url)
        assert await dump_files.own_tables(db, KNOWN) == []
        await db.execute("CREATE TABLE tasks (id integer)")
        with pytest.raises(DumpError, match=r"not ours: public\.tasks"):
            await dump_files.own_tables(db, KNOWN)
        await db.execute("DROP TABLE tasks; CREATE TABLE schema_migrations (version text)")
        with pytest.raises(DumpError, match="another program"):
            await dump_files.own_tables(db, KNOWN)
        await db.execute("DROP TABLE schema_migrations")
        await migrations.up(db, KNOWN)
        await run_sql(url, "INSERT INTO schema_migrations (number, name, sha256) VALUES (9999, '9999_add', '')")
        with pytest.raises(MigrationError, match="newer release"):
            await dump_files.own_tables(db, KNOWN)
        await db.close()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
async def test_rows_are_whole_whatever_the_pieces(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(dump_files, "PIECE", size)
    script = dump_files._Script(stream(TEXT))
    lines = []
    while line := await script.line():
        lines.append(line)
        if dump_files.COPY.fullmatch(line):
            lines.append(b"".join([piece async for piece in script.rows()]))
    assert lines == [
        b"SET a;\n", b"\n", b"COPY public.a (b) FROM stdin;\n", b"1\\\\.\tx\n\\\\.\n",
        b"COPY public.b (b) FROM stdin;\n", b"", b"\n", b"END;\n",
    ]  # fmt: skip


async def test_rows_without_an_end_are_an_error() -> None:
    script = dump_files._Script(stream(b"1\n2\n"))
    with pytest.raises(ProgramError):
        [piece async for piece in script.rows()]


def stream(content: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(content)
    reader.feed_eof()
    return reader


def test_a_transaction_pooler_is_refused() -> None:
    with pytest.raises(DumpError, match="direct address"):
        dump_files.session(make_settings("postgresql://a:b@ep-x-pooler.eu.aws.neon.tech/todo?sslmode=require"))
