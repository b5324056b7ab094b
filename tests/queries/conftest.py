"""A connection for tests of statements: as on one server, and as on a cluster, whose second forms run anywhere."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from todo_service.postgres.connection import Connection, TimedConnection

WITH_SECOND_FORMS = {
    "test_idempotency_keys",
    "test_refresh_tokens",
    "test_tasks",
    "test_expired_changes",
    "test_expiry",
    "test_task_changes",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of statements with a second form run twice."""
    if "db" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2] in WITH_SECOND_FORMS:
        metafunc.parametrize("db", [False, True], ids=["one server", "a cluster"], indirect=True)


@pytest_asyncio.fixture
async def db(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    """A connection whose changes are rolled back."""
    connection: TimedConnection = await asyncpg.connect(database_url, connection_class=TimedConnection)
    connection.is_distributed = getattr(request, "param", False)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()
