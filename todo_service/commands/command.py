"""The common parts of all commands: options, settings, a database, and one line instead of a traceback."""

import argparse
import asyncio
import getpass
import json
import secrets
import sys
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import asyncpg

from todo_service import __version__
from todo_service.commands.command_settings import CommandSettings
from todo_service.commands.development import prepared
from todo_service.commands.dump_files import DumpError
from todo_service.config.database_options import database_options
from todo_service.config.script_names import named_here
from todo_service.config.settings import Settings, SettingsError
from todo_service.errors import ApiError, ValidationFailed
from todo_service.observability import logs
from todo_service.postgres.client_binaries import ProgramError
from todo_service.postgres.connector import CannotConnectError
from todo_service.postgres.database import Database
from todo_service.postgres.embedded import EmbeddedError
from todo_service.postgres.migrations import MigrationError
from todo_service.queries.audit_log import AuditEntry


class CommandError(Exception):
    """The command cannot do its work; the text has the reason and the remedy."""


EXPECTED = (
    ApiError, CommandError, DumpError, MigrationError, EmbeddedError, CannotConnectError, ProgramError,
    asyncpg.PostgresError, asyncpg.InterfaceError, OSError,
)  # fmt: skip
LONG = 60.0  # seconds: a command may wait longer than a request for a connection or a statement
STATUS = (
    "exit status: 0 done, 1 it could not be done, 2 wrong usage or settings, 130 Ctrl-C, 141 nobody reads what is "
    "written; the reason is one line on standard error"
)


class Parser(argparse.ArgumentParser):
    """The options of one script. `--help` ends with examples; a wrong option is one line and exit status 2."""

    def __init__(self, *, examples: Sequence[str] = (), **options: object) -> None:
        lines = ["examples:", *(f"  {example}" for example in examples), "", STATUS] if examples else []
        named = {name: named_here(value) for name, value in options.items() if isinstance(value, str)}
        formatting = argparse.RawDescriptionHelpFormatter
        options |= {"epilog": named_here("\n".join(lines)), "formatter_class": formatting, **named}
        super().__init__(**options)  # type: ignore[arg-type]
        if examples:
            self.add_argument("--version", action="version", version=f"Todo Service {__version__}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see --help.\n")

    def add_json(self) -> None:
        """Add the option `--json`."""
        self.add_argument("--json", action="store_true", help="one JSON document on standard output, nothing else")

    def add_password_file(self) -> None:
        """Add the option `--password-file`."""
        text = "a file with the password alone; one line end is dropped"
        self.add_argument("--password-file", type=Path, help=text)

    def add_folder(self) -> None:
        """Add the folder in which relative paths start.

        The script passes it, because it runs in the project's folder.
        """
        self.add_argument("--folder", type=Path, default=Path(), help=argparse.SUPPRESS)


def run(act: Callable[[Settings], Awaitable[int]], *, needed: type[CommandSettings] = CommandSettings) -> int:
    """Run `act` with the command's settings, on the embedded PostgreSQL of a running service if there is one.

    Returns:
        The exit status: that of `act`, 1 for a failure, 2 for wrong settings or values.
    """
    logs.silence()
    try:
        with prepared(needed.load(), join=True) as settings:
            return asyncio.run(_awaited(act, settings))
    except (SettingsError, ValidationFailed) as error:
        return fail(str(error), status=2)
    except asyncpg.UndefinedTableError:
        return fail("The database has not all tables of this release. Run bin/migrate up.")
    except BrokenPipeError:  # the reader of our output has gone; a lost database is another error
        raise
    except EXPECTED as error:
        return fail(str(error) or type(error).__name__)


def run_with_database(
    act: Callable[[Settings, Database], Awaitable[int]], *, needed: type[CommandSettings] = CommandSettings
) -> int:
    """Run `act` as `run` does, with an open pool and deadlines for commands."""

    async def with_database(settings: Settings) -> int:
        patient = {"database_statement_timeout": LONG, "database_acquire_timeout": LONG, "database_pool_min": 0}
        options = replace(database_options(settings.model_copy(update=patient)), every_owner=True)
        database = Database(options)
        await database.open()
        try:
            return await act(settings, database)
        finally:
            await database.close()

    return run(with_database, needed=needed)


def fail(reason: str, *, status: int = 1) -> int:
    """Print the reason of a failure on standard error; return the exit status."""
    print(named_here(reason), file=sys.stderr)
    return status


def report(document: dict[str, object], *lines: str, as_json: bool) -> None:
    """Print the result on standard output: as one JSON document, or as lines of text."""
    print(json.dumps(document) if as_json else "\n".join(lines))


def text(argument: str) -> str:
    """Return an option's value that is compared with text; for argparse."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("is not UTF-8") from None
    return argument


def printable(text: str) -> str:
    """Return the text for a terminal: control characters, which an id of an auth server may have, as numbers."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def audit_entry(action: str, actor: str) -> AuditEntry:
    """Return the audit log's entry of an act of a command; an id stands for the request."""
    return AuditEntry(action, actor, f"command-{secrets.token_hex(8)}")


def new_password(folder: Path, file: Path | None) -> str:
    """Return the password in a file, or from the terminal. Raises `OSError`, or `ValueError` with the reason."""
    return password_from(folder / file) if file else _ask_password()


def password_from(path: Path) -> str:
    """Return the password in a file, without one line end. Raises `OSError` or `UnicodeDecodeError`."""
    return path.read_text(encoding="utf-8").removesuffix("\n")


def _ask_password() -> str:
    """Return the password from the terminal. Raises `ValueError` with the reason if there is none."""
    try:
        with warnings.catch_warnings(action="error", category=getpass.GetPassWarning):
            password, again = getpass.getpass("Password: "), getpass.getpass("The same again: ")
    except getpass.GetPassWarning:
        raise ValueError("there is no terminal to ask on; use --password-file") from None
    except EOFError:
        raise ValueError("none was typed") from None
    if password != again:
        raise ValueError("the two differ")
    return password


async def _awaited(act: Callable[[Settings], Awaitable[int]], settings: Settings) -> int:
    return await act(settings)
