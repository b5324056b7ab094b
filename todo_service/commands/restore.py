"""`bin/restore`: load a backup of bin/backup into a database. Stop every running service first.

It is one transaction: existing tables are dropped (only with --replace --yes), the file is loaded, pending migrations
are applied, the counts are checked, and every user's history gets a new epoch, so that clients of delta sync start
over. If it is interrupted, even by a power failure, the database is as before.
"""

import argparse
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncpg

from todo_service.commands import command, dump_files, epochs
from todo_service.commands.dump_files import Dump, DumpError
from todo_service.config.database_options import database_options
from todo_service.config.settings import Settings
from todo_service.postgres import migrations
from todo_service.postgres.client_binaries import ProgramError
from todo_service.postgres.connection import Connection
from todo_service.postgres.connector import single_connection
from todo_service.postgres.migrations import Migration, MigrationError
from todo_service.queries import catalog, clocks
from todo_service.queries.clocks import Totals

UNCHANGED = "The database is as it was."
UNSURE = (
    "It happened at the very end: the database is either as it was or wholly restored. bin/users list and bin/migrate"
    " status tell which; the same command may be run again."
)
FAILURES = (DumpError, MigrationError, ProgramError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
EXAMPLES = (
    "bin/restore todo-20261224T030000Z.dump",
    "bin/restore todo-20261224T030000Z.dump --replace --yes   # the present data of the database is lost",
    "DATABASE_URL=postgresql://…/trial bin/restore todo.dump   # try a backup in another database",
)

WITHOUT_TABLES = {"0017_create_unicode_text"}  # migrations whose work no backup holds; they may run again


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore: the totals, and the number of dropped tables and applied migrations."""

    totals: Totals
    dropped: int
    migrated: int
    missing: list[str]


def main() -> int:
    """Return 0 when done, 1 for a failure, 2 for misuse."""
    parser = command.Parser(prog="bin/restore", description=__doc__, examples=EXAMPLES)
    parser.add_argument("file", type=Path, metavar="FILE", help="the file of a backup")
    parser.add_argument("--replace", action="store_true", help="drop the tables of ours that are there; needs --yes")
    parser.add_argument("--yes", action="store_true", help="yes, everything in them is lost")
    parser.add_json()
    parser.add_folder()
    arguments = parser.parse_args()
    if arguments.replace and not arguments.yes:
        parser.error("--replace drops every task and account that is there: add --yes")
    return command.run(partial(_restore, arguments))


async def _restore(arguments: argparse.Namespace, settings: Settings) -> int:
    where = dump_files.session(settings)
    all_migrations = migrations.find()
    archive = await dump_files.open_archive(arguments.folder / arguments.file)
    _check(archive, await dump_files.applied_migrations(archive), all_migrations)
    is_loaded = False
    hosts = ", ".join(f"{host}:{port}" for host, port in where.hosts)
    _say(f"Restoring into the database {where.database} at {hosts or 'this machine'} …")
    async with single_connection(database_options(settings)) as db:
        try:
            async with db.transaction(isolation="read_committed"):
                done = await _exchange(db, archive, all_migrations, replace=arguments.replace)
                is_loaded = True
        except FAILURES as error:
            raise DumpError(f"{_explain(error)} {UNSURE if is_loaded else UNCHANGED}") from error
    _report(arguments, archive, done)
    return 0


def _check(archive: Dump, applied: dict[int, str], all_migrations: tuple[Migration, ...]) -> None:
    """Raise `DumpError` if this is not a backup of ours, or not one that this release can bring up to date."""
    if missing := dump_files.NEEDED - archive.tables:
        raise DumpError(f"{archive.path} is no backup of Todo Service: it has no table {', '.join(sorted(missing))}.")
    if others := archive.tables - set(migrations.tables(all_migrations)):
        names = ", ".join(sorted(others))
        raise DumpError(f"{archive.path} has other tables too ({names}): bin/restore takes a file made by bin/backup.")
    if applied and max(applied) > len(all_migrations):
        raise DumpError(f"{archive.path} is of a newer release (migration {max(applied)}): restore it with that one.")
    if edited := [
        migration.name
        for migration in all_migrations
        if applied.get(migration.number, migration.sha256) != migration.sha256
    ]:
        raise DumpError(f"{archive.path} was made with other migrations than these: {', '.join(edited)}.")


async def _exchange(db: Connection, archive: Dump, all_migrations: tuple[Migration, ...], *, replace: bool) -> Restored:
    """Drop, load, migrate and check, in the caller's transaction."""
    await migrations.lock(db)
    own = [table for table in await dump_files.own_tables(db, all_migrations) if not table.is_shared]
    if own and not replace:
        raise DumpError(f"The database has {len(own)} tables of ours: --replace --yes drops them first.")
    await catalog.update_lock_timeout(db)
    await catalog.drop(db, tables=own)
    search_path = await catalog.select_search_path(db)
    _say(f"Loading {archive.path} …")
    await dump_files.load(db, archive)
    await catalog.update_search_path(db, search_path)
    migrated = await migrations.up(db, all_migrations, _say)
    for migration in all_migrations:
        if migration.name in WITHOUT_TABLES:
            await db.execute(migration.up)
    _say("Checking …")
    tables = await dump_files.own_tables(db, all_migrations)
    await catalog.analyze(db, tables=[table for table in tables if not table.is_shared])
    totals = await clocks.select_totals(db)
    if totals.miscounted or totals.ahead:
        raise DumpError(
            f"{archive.path} does not agree with itself: {totals.miscounted} users have another number of tasks than"
            f" they are said to have, {totals.ahead} have changes ahead of their counter."
        )
    await epochs.renew(lambda: nullcontext(db))
    missing = sorted({*migrations.tables(all_migrations)} - {table.name for table in tables})
    return Restored(totals, len(own), migrated, missing)


def _report(arguments: argparse.Namespace, archive: Dump, done: Restored) -> None:
    users, tasks = done.totals.users, done.totals.tasks
    document: dict[str, object] = {
        "file": str(archive.path),
        "users": users,
        "tasks": tasks,
        "tables_dropped": done.dropped,
        "migrations_applied": done.migrated,
        "missing": done.missing,
    }
    lines = [f"{archive.path} is restored: {users} users, {tasks} tasks; every user's history has a new epoch"]
    for name in done.missing:
        _say(f"{name} was not in the backup: an auth server made it. Restore it from that server's backup.")
    command.report(document, *lines, as_json=arguments.json)


def _explain(error: Exception) -> str:
    match error:
        case asyncpg.LockNotAvailableError():
            return "A table is in use. Stop every running service, then try again."
        case asyncpg.DependentObjectsStillExistError():
            return f"Something that is not ours builds on a table of ours: {error.detail or error}."
        case asyncpg.DuplicateObjectError() | asyncpg.DuplicateTableError():
            return f"The database has something of this name already: {error}."
        case _:
            return f"{str(error).removesuffix('.')}."


def _say(line: str) -> None:
    print(line, file=sys.stderr)
