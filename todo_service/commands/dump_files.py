"""Backup files: written by `pg_dump`, read by `pg_restore`, loaded over a connection of ours.

`pg_restore` only turns the file into rows here; it never connects, and no SQL of the file is run: the tables are those
of the migrations. So everything that a restore does, before and after the file is loaded, is in one transaction of one
connection, opened like every other connection of the service.
"""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import asyncpg

from todo_service.config.database_options import database_options
from todo_service.config.database_url import Dsn
from todo_service.config.settings import Settings
from todo_service.postgres import client_binaries, migrations
from todo_service.postgres.client_binaries import Program, ProgramError
from todo_service.postgres.connection import Connection
from todo_service.postgres.migrations import Migration, MigrationError
from todo_service.queries import catalog
from todo_service.queries.catalog import Table

NEEDED = frozenset({"users", "task_clocks", "tasks", "schema_migrations"})  # a file without them is not a backup
PIECE = 1024 * 1024  # bytes
LOCK_SECONDS = 60  # how long a dump waits for a table that a migration has locked
COPY = re.compile(rb"COPY \S+ \((.*)\) FROM stdin;\n")
USUAL = re.compile(
    "(TABLE|TABLE DATA|SEQUENCE|SEQUENCE SET|SEQUENCE OWNED BY|DEFAULT|CONSTRAINT|FK CONSTRAINT|CHECK CONSTRAINT|"
    "INDEX|COMMENT|COLLATION|ACL|DEFAULT ACL|ROW SECURITY|POLICY|STATISTICS|STATISTICS DATA) "
    r"|TRIGGER \S+ users users_keep_account_emails$"
)  # parts of a backup; of these only the data of tables are used


class DumpError(Exception):
    """A file is not a backup that can be restored here; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Dump:
    """A readable backup: its tables, the major version of its server, and its parts that no backup of ours has."""

    path: Path
    tables: frozenset[str]
    version: int
    program: Program
    others: tuple[str, ...] = ()


def session(settings: Settings) -> Dsn:
    """Return the connection string of a database with sessions. Raises `DumpError` for a transaction pooler."""
    where = database_options(settings).dsn
    if where.pooled:
        raise DumpError(
            "DATABASE_URL leads through a transaction pooler, which mixes sessions. Give the direct address (for Neon"
            " the host without -pooler, for Supabase and PgBouncer PostgreSQL's own port)."
        )
    return where


async def own_tables(db: Connection, migrations_here: tuple[Migration, ...]) -> list[Table]:
    """Return the service's tables in a database; those that an auth server created are marked as shared.

    Raises:
        MigrationError: The database is of a newer release.
        DumpError: Other tables have the names of ours.
    """
    try:
        state = await migrations.state(db, migrations_here)
    except asyncpg.UndefinedColumnError:
        raise DumpError("The database has a schema_migrations of another program: it is not ours.") from None
    if newer := [name for number, name in state.applied.items() if number > len(migrations_here)]:
        raise MigrationError(f"The database is of a newer release (it has {newer[-1]}): use that release's scripts.")
    ours = migrations.tables(migration for migration in migrations_here if migration.number in state.applied)
    tables = await catalog.select_tables(db, names=migrations.tables(migrations_here))
    if strangers := [table.qualified for table in tables if table.name not in ours and not table.is_shared]:
        raise DumpError(f"The database has tables of these names that are not ours: {', '.join(strangers)}.")
    return tables


async def dump(where: Dsn, program: Program, tables: Collection[Table], target: IO[bytes] | int) -> None:
    """Write these tables as of one moment, while the service writes.

    Raises:
        ProgramError: `pg_dump` failed.
        BrokenPipeError: The reader of `target` has gone.
    """
    options = ["--format=custom", "--encoding=UTF8", "--no-password", f"--lock-wait-timeout={LOCK_SECONDS}s"]
    options += ["--enable-row-security"]  # with `EVERY_OWNER` a role under the policies sees every row
    table_options = [f"--table={table.qualified}" for table in tables]
    environment = client_binaries.environment(where)
    async with _running(program.path, *options, *table_options, stdout=target, env=environment) as process:
        try:
            await _ended(process, "pg_dump")
        except ProgramError:
            if process.returncode == -signal.SIGPIPE:
                raise BrokenPipeError from None
            raise


async def open_archive(path: Path) -> Dump:
    """Read the contents of a file. Raises `DumpError`, or `ProgramError` if there is no `pg_restore`."""
    program = client_binaries.newest("pg_restore")
    try:
        path.open("rb").close()
        listing = await _output(program, "--list", str(path))
    except (OSError, ProgramError) as error:
        raise DumpError(f"{path} cannot be read as a backup. {_reason(error)}") from None
    version = re.search(r"^; +Dumped from database version: (\d+)", listing, re.MULTILINE)
    tables = re.findall(r"^\d+; \d+ \d+ TABLE (?!DATA )\S+ (\S+) ", listing, re.MULTILINE)
    others = [part for part in re.findall(r"^\d+; \d+ \d+ (.+) \S+$", listing, re.MULTILINE) if not USUAL.match(part)]
    others += [f"TABLE {name} twice" for name in sorted(set(tables)) if tables.count(name) > 1]
    return Dump(path, frozenset(tables), int(version[1]) if version else 0, program, tuple(others))


async def applied_migrations(archive: Dump) -> dict[int, str]:
    """Return the migrations of the backup's database: the SHA-256 of each by its number."""
    rows = await _output(archive.program, "--data-only", "--table=schema_migrations", "--file=-", str(archive.path))
    lines = rows.partition("FROM stdin;\n")[2].partition("\\.\n")[0].splitlines()
    return {int(number): sha256 for number, _, sha256, *_ in (line.split("\t") for line in lines)}


async def load(db: Connection, archive: Dump, table: Table) -> None:
    """Fill a table with the file's rows of it, in the caller's transaction. No SQL of the file is run.

    Raises:
        ProgramError: The file is broken; nothing may be committed. Exceptions of asyncpg mean the same.
        DumpError: It has not exactly one list of rows of the table.
    """
    options = ["--data-only", "--exit-on-error", f"--table={table.name}", "--file=-"]
    pipe, lists = asyncio.subprocess.PIPE, 0
    async with _running(archive.program.path, *options, str(archive.path), stdout=pipe) as process:
        assert process.stdout is not None
        script = _Script(process.stdout)
        while line := await script.line():
            if copy := COPY.fullmatch(line):
                lists += 1
                schema, columns, rows = table.schema, _names(copy[1]), script.rows()
                await _copied(db, db.copy_to_table(table.name, schema_name=schema, columns=columns, source=rows))
        await _ended(process, "pg_restore")
    if lists != 1:
        raise DumpError(f"{archive.path} has {lists} lists of rows of {table.name}: bin/backup writes one.")


async def _copied(db: Connection, copying: Coroutine[Any, Any, object]) -> None:
    """Wait for a COPY. asyncpg itself waits for ever if the connection is lost while it cannot write."""
    task = asyncio.create_task(copying)

    def cancel(_: object) -> None:
        task.cancel()

    db.add_termination_listener(cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not db.is_closed():
            raise
        raise ConnectionResetError("PostgreSQL closed the connection.") from None
    finally:
        db.remove_termination_listener(cancel)


class _Script:
    """The output of `pg_restore`: lines of SQL, and after a line with COPY the rows up to the line that ends them."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._buffer = b""  # starts with a line

    async def line(self) -> bytes:
        """Return the next line with its end, or nothing at the end of the script."""
        while b"\n" not in self._buffer and await self._more():
            pass
        line, end, self._buffer = self._buffer.partition(b"\n")
        return line + end

    async def rows(self) -> AsyncIterator[bytes]:
        """Yield the rows, many at a time. Raises `ProgramError` if the script ends among them."""
        while not self._buffer.startswith(b"\\.\n"):
            if (end := self._buffer.find(b"\n\\.\n")) < 0:
                end = self._buffer.rfind(b"\n")
            if end >= 0:
                yield self._buffer[: end + 1]
                self._buffer = self._buffer[end + 1 :]
            elif not await self._more():
                raise ProgramError("The file ends in the middle of a table.")
        self._buffer = self._buffer[3:]

    async def _more(self) -> bool:
        piece = await self._stream.read(PIECE)
        self._buffer += piece
        return bool(piece)


def _names(text: bytes) -> list[str]:
    return [name.strip('"').replace('""', '"') for name in text.decode().split(", ")]


async def _output(program: Program, *arguments: str) -> str:
    async with _running(program.path, *arguments, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        output = await process.stdout.read()
        await _ended(process, program.path.name)
        return output.decode(errors="replace")


@asynccontextmanager
async def _running(program: Path, *arguments: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program until the end of the block at the latest."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        str(program), *arguments, **{"stdin": asyncio.subprocess.DEVNULL, "stderr": pipe, **options}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _ended(process: asyncio.subprocess.Process, name: str) -> None:
    """Wait for a program; raise `ProgramError` with its error message if it failed."""
    assert process.stderr is not None
    output = (await process.stderr.read()).decode(errors="replace")
    if await process.wait() != 0:
        errors = [line.partition("error: ")[2] or line for line in output.splitlines() if line.strip()]
        raise ProgramError(f"{name} failed: {errors[0] if errors else f'exit status {process.returncode}'}")


def _reason(error: Exception) -> str:
    return f"{error.strerror}." if isinstance(error, OSError) else f"{error}."
