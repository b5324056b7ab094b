"""What all commands of an operator share: settings, a database, and one line instead of a traceback."""

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable

import asyncpg

from todo_service import logs
from todo_service.connect import CannotConnectError
from todo_service.database import Database
from todo_service.development import prepared
from todo_service.embedded import EmbeddedError
from todo_service.errors import ApiError, ValidationFailed
from todo_service.migrations import MigrationError
from todo_service.settings import Settings, SettingsError

EXPECTED = (ApiError, MigrationError, EmbeddedError, CannotConnectError, asyncpg.PostgresError, OSError)
LONG = 60.0  # seconds: a command may wait longer for a connection or a statement than a request


def run(act: Callable[[Settings], Awaitable[int]]) -> int:
    """Do something with complete settings; returns the exit status: the act's own, 1 for a failure, 2 for wrong
    settings or values. The embedded PostgreSQL of a service that is running is used as well.
    """
    logs.silence()
    try:
        with prepared(Settings.load(), join=True) as settings:
            return asyncio.run(_awaited(act, settings))
    except (SettingsError, ValidationFailed) as error:
        return fail(str(error), status=2)
    except EXPECTED as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return 130


def run_with_database(act: Callable[[Settings, Database], Awaitable[int]]) -> int:
    """The same, with an open pool whose deadlines suit a command."""

    async def with_database(settings: Settings) -> int:
        patient = {"database_statement_timeout": LONG, "database_acquire_timeout": LONG, "database_pool_min": 0}
        database = Database(settings.model_copy(update=patient))
        await database.open()
        try:
            return await act(settings, database)
        finally:
            await database.close()

    return run(with_database)


def fail(reason: str, *, status: int = 1) -> int:
    """Say on standard error why not; returns the exit status."""
    print(reason, file=sys.stderr)
    return status


def request_id() -> str:
    """What stands for the request in the audit log when a command acts."""
    return f"command-{secrets.token_hex(8)}"


async def _awaited(act: Callable[[Settings], Awaitable[int]], settings: Settings) -> int:
    return await act(settings)
