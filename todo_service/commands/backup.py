"""`bin/backup`: write every table of the service into one file, as of one moment, while the service runs. The file is
complete or absent, readable by its owner alone, and holds password hashes: protect it like the database.

It leaves out a table `user_sessions` that an auth server created; that server's backup has it.
"""

import argparse
import asyncio
import fcntl
import os
import stat
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from todo_service.commands import command, dump_files
from todo_service.commands.dump_files import DumpError
from todo_service.config.database_options import database_options
from todo_service.config.settings import Settings
from todo_service.postgres import client_binaries, migrations
from todo_service.postgres.connector import single_connection
from todo_service.queries import catalog

STANDARD_OUTPUT = "-"
SHOW_SECONDS = 0.2
EXAMPLES = (
    "bin/backup                                 # todo-20261224T030000Z.dump, in this folder",
    "bin/backup /var/backups/todo.dump --force",
    "bin/backup - | gpg --encrypt -r ops@example.com >todo.dump.gpg",
)


def main() -> int:
    """Return 0 when done, 1 for a failure, 2 for misuse."""
    parser = command.Parser(prog="bin/backup", description=__doc__, examples=EXAMPLES)
    parser.add_argument("file", nargs="?", metavar="FILE", help="default: todo-<moment>.dump; - is standard output")
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.add_json()
    parser.add_folder()
    arguments = parser.parse_args()
    if arguments.file == STANDARD_OUTPUT:
        if arguments.json or sys.stdout.isatty():
            parser.error("the backup goes to standard output, which must be a pipe or a file and takes no --json")
        return command.run(_to_standard_output)
    name = arguments.file or datetime.now(UTC).strftime("todo-%Y%m%dT%H%M%SZ.dump")
    return command.run(partial(_to_file, arguments, arguments.folder / name))


async def _to_standard_output(settings: Settings) -> int:
    await _dump(settings, sys.stdout.buffer)
    return 0


async def _to_file(arguments: argparse.Namespace, path: Path, settings: Settings) -> int:
    with _part(path, replace=arguments.force) as part:
        left_out = await _dump(settings, part)
        size = part.seek(0, os.SEEK_END)
    document = {"file": str(path), "bytes": size, "left_out": left_out}
    command.report(document, f"{path}  {size:,} bytes", as_json=arguments.json)
    return 0


@contextmanager
def _part(path: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """Yield a file `….part`, which becomes `path` at the end of the block and is removed if the block fails."""
    if path.exists() and not (replace and stat.S_ISREG(path.stat().st_mode)):
        raise DumpError(f"{path} is there already. Name another file, or add --force to replace a backup.")
    part = path.with_name(f"{path.name}.part")
    _remove_leftover(part)
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise DumpError(f"Another backup has just begun to write {part}.") from None
    with open(descriptor, "wb") as file:  # noqa: PTH123
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


def _remove_leftover(part: Path) -> None:
    """Remove the file of a backup that was killed. A file of another user may be open for them: it is not written to.

    Raises:
        DumpError: Another backup is writing the file, or it is not ours.
    """
    try:
        found = part.lstat()
    except FileNotFoundError:
        return
    if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
        raise DumpError(f"{part} is there and is not ours: it could be read while it is written. Remove it first.")
    with part.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DumpError(f"Another backup is writing {part}.") from None
        part.unlink()


def _sync_folder(folder: Path) -> None:
    """Flush the folder, so that the new name survives a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _dump(settings: Settings, target: IO[bytes]) -> list[str]:
    """Write the backup; return the tables that are left out."""
    where = dump_files.session(settings)
    async with single_connection(database_options(settings)) as db:
        version = await catalog.select_server_version(db)
        tables = await dump_files.own_tables(db, migrations.find())
    if missing := dump_files.NEEDED - {table.name for table in tables}:
        raise DumpError(f"The database has no table {', '.join(sorted(missing))}: there is nothing to back up.")
    program = client_binaries.find("pg_dump", oldest=version, needs_tls=where.needs_tls)
    left_out = [table.name for table in tables if table.is_shared]
    for name in left_out:
        print(f"{name} is left out: an auth server made it.", file=sys.stderr)
    await _with_progress(
        dump_files.dump(where, program, [table for table in tables if not table.is_shared], target), target
    )
    return left_out


async def _with_progress(dumping: Coroutine[None, None, None], target: IO[bytes]) -> None:
    """Wait for the dump and report the bytes written on standard error; for a pipe they are unknown."""
    columns = (SpinnerColumn(), TextColumn("backup"), DownloadColumn(), TimeElapsedColumn())
    task, console = asyncio.create_task(dumping), Console(stderr=True)
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("backup", total=None)
            while not task.done():
                await asyncio.wait([task], timeout=SHOW_SECONDS)
                progress.update(bar, completed=os.fstat(target.fileno()).st_size)
    finally:
        task.cancel()  # the command was asked to stop, and so is the program
        await task
