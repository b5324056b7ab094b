"""Which errors time may heal, and which are a mistake."""

import asyncio
import errno
import socket
import ssl
from typing import Any

import asyncpg
import pytest

from tests.proxy import opened
from todo_service.postgres.connector import CannotConnectError
from todo_service.postgres.failures import is_unavailable


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionRefusedError(),
        ConnectionResetError(),
        CannotConnectError("x"),
        socket.gaierror(socket.EAI_NONAME, "x"),
        ssl.SSLError(1, "x"),
        OSError("Multiple exceptions"),
        OSError(errno.EHOSTUNREACH, "x"),
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.TooManyConnectionsError("x"),
        asyncpg.DiskFullError("x"),
        asyncpg.AdminShutdownError("x"),
        asyncpg.CrashShutdownError("x"),
        asyncpg.QueryCanceledError("x"),
        asyncpg.LockNotAvailableError("x"),
        asyncpg.ReadOnlySQLTransactionError("x"),
        asyncpg.IdleInTransactionSessionTimeoutError("x"),
        asyncpg.SerializationError("x"),
        asyncpg.DeadlockDetectedError("x"),
        asyncpg.InvalidCachedStatementError("x"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InterfaceError("pool is closing"),
        asyncpg.InternalClientError("not connected"),
    ],
    ids=repr,
)
def test_what_time_may_heal_is_unavailable(error: Exception) -> None:
    assert is_unavailable(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        FileNotFoundError(errno.ENOENT, "x"),
        PermissionError(errno.EACCES, "x"),
        asyncio.CancelledError(),
        asyncpg.UniqueViolationError("x"),
        asyncpg.UndefinedTableError("x"),
        asyncpg.DataError("x"),
        asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
    ],
    ids=repr,
)
def test_a_mistake_is_not_unavailable(error: BaseException) -> None:
    assert not is_unavailable(error)


@pytest.mark.parametrize("arguments", [(), ("a",), (1, 2)])
async def test_wrong_arguments_are_not_unavailable(database_url: str, arguments: tuple[Any, ...]) -> None:
    async with opened(database_url) as db_, db_.connection() as db:
        with pytest.raises((asyncpg.InterfaceError, asyncpg.DataError)) as mistake:
            await db.fetchval("SELECT $1::int", *arguments)
    assert not is_unavailable(mistake.value)
