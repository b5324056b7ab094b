"""`bin/restore`: load a backup of bin/backup into a database. Stop every running service first.

It is one transaction: existing tables are dropped (only with --replace --yes), the file is loaded, pending migrations
are applied, the counts are checked, every user's history gets a new epoch, so that clients of delta sync start over,
and every session and token ends. If it is interrupted, even by a power failure, the database is as before. Only the
data of the service's own tables are taken from the file, and no SQL: a file with anything else is refused.
"""

import argparse
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.progress import Progress

from todo_service.commands import command, dump_files, epochs
from todo_service.commands.dump_files import Dump, DumpError
from todo_service.config.database_options import database_options
from todo_service.config.settings import Settings
from todo_service.postgres import distribution, grants, migrations, row_security
from todo_service.postgres.client_binaries import ProgramError
from todo_service.postgres.connection import Connection
from todo_service.postgres.connector import single_connection
from todo_service.postgres.migrations import Migration, MigrationError
from todo_service.queries import audit_log, catalog, clocks
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

NOT_LOADED = {"schema_migrations", "token_epochs", "account_emails"}  # the restore and a trigger write them


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
    parser.add_argument("--leave-out-others", action="store_true", help="pass over triggers and the like in the file")
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
    applied = await dump_files.applied_migrations(archive)
    _check(archive, applied, all_migrations, leave_out=arguments.leave_out_others)
    is_loaded = False
    hosts = ", ".join(f"{host}:{port}" for host, port in where.hosts)
    _say(f"Restoring into the database {where.database} at {hosts or 'this machine'} …")
    async with single_connection(database_options(settings)) as db:
        try:
            async with db.transaction(isolation="read_committed"):
                done = await _exchange(db, archive, all_migrations, len(applied), replace=arguments.replace)
                is_loaded = True
        except FAILURES as error:
            raise DumpError(f"{_explain(error)} {UNSURE if is_loaded else UNCHANGED}") from error
    _report(arguments, archive, done)
    return 0


def _check(
    archive: Dump, applied: dict[int, str], all_migrations: tuple[Migration, ...], *, leave_out: bool = False
) -> None:
    """Raise `DumpError` if this is not a backup of ours, or not one that this release can bring up to date."""
    if missing := dump_files.NEEDED - archive.tables:
        raise DumpError(f"{archive.path} is no backup of Todo Service: it has no table {', '.join(sorted(missing))}.")
    of_file = migrations.tables(migration for migration in all_migrations if migration.number in applied)
    if others := archive.tables - {*migrations.tables(all_migrations), *of_file}:
        names = ", ".join(sorted(others))
        raise DumpError(f"{archive.path} has other tables too ({names}): bin/restore takes a file made by bin/backup.")
    if archive.others and not leave_out:
        raise DumpError(
            f"{archive.path} holds more than the service's own tables: {'; '.join(archive.others)}."
            " Add --leave-out-others to restore without them."
        )
    if applied and max(applied) > len(all_migrations):
        raise DumpError(f"{archive.path} is of a newer release (migration {max(applied)}): restore it with that one.")
    if edited := [
        migration.name
        for migration in all_migrations
        if applied.get(migration.number, migration.sha256) != migration.sha256
    ]:
        raise DumpError(f"{archive.path} was made with other migrations than these: {', '.join(edited)}.")
    if sorted(applied) != [*range(1, len(applied) + 1)]:
        raise DumpError(f"{archive.path} was made between two migrations: it lacks an earlier one.")


async def _exchange(
    db: Connection, archive: Dump, all_migrations: tuple[Migration, ...], applied: int, *, replace: bool
) -> Restored:
    """Drop the tables, make those of the file's release, load, migrate and check, in the caller's transaction.

    Args:
        applied: The number of migrations that the backup's database had.
    """
    await migrations.lock(db)
    own = [table for table in await dump_files.own_tables(db, all_migrations) if not table.is_shared]
    if own and not replace:
        raise DumpError(f"The database has {len(own)} tables of ours: --replace --yes drops them first.")
    await catalog.update_lock_timeout(db)
    roles, is_secured = await grants.serving_roles(db), await row_security.is_on(db)
    is_distributed = await distribution.is_distributed(db)
    await catalog.drop(db, tables=own)
    await migrations.up(db, all_migrations[:applied])
    await _load(db, archive, all_migrations[:applied])
    migrated = await migrations.up(db, all_migrations, _say)
    if is_distributed:
        await distribution.apply(db, await distribution.plan(db))
    for role in roles:  # the new tables are for the roles of before, under the same policies
        await grants.grant(db, role, migrations.tables(all_migrations), session_table="user_sessions")
    if is_secured:
        await row_security.switch(db, on=True)
    _say("Checking …")
    tables = await dump_files.own_tables(db, all_migrations)
    await catalog.analyze(db, tables=[table for table in tables if not table.is_shared])
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("users", total=await clocks.count_clocks(db))
        totals = await clocks.select_totals(db, report=partial(progress.advance, bar))
    if totals.miscounted or totals.ahead:
        raise DumpError(
            f"{archive.path} does not agree with itself: {totals.miscounted} users have another number of tasks than"
            f" they are said to have, {totals.ahead} have changes ahead of their counter."
        )
    await epochs.renew(lambda: nullcontext(db))
    missing = sorted({*migrations.tables(all_migrations)} - {table.name for table in tables})
    return Restored(totals, len(own), migrated, missing)


async def _load(db: Connection, archive: Dump, present: tuple[Migration, ...]) -> None:
    """Fill the tables, those before that others refer to, and drop one that is left to an auth server."""
    _say(f"Loading {archive.path} …")
    names = [name for name in migrations.tables(present) if name not in NOT_LOADED]
    tables = {table.name: table for table in await dump_files.own_tables(db, present) if not table.is_shared}
    for table in (tables[name] for name in names if name in tables):
        if table.name in archive.tables:
            await dump_files.load(db, archive, table)
        elif catalog.may_be_shared(table.name):
            await catalog.drop(db, tables=[table])
        else:
            _say(f"{table.name} is not in the backup: it stays empty.")
    if "audit_log" in tables:
        await audit_log.restart_ids(db)


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
    ended = "every history has a new epoch, every session has ended"
    lines = [f"{archive.path} is restored: {users} users, {tasks} tasks; {ended}"]
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
