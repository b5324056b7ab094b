"""What a Citus coordinator says, without one: tests on a cluster are run by hand (docs/scale.md)."""

import asyncpg
import pytest

from todo_service.postgres import citus


@pytest.mark.parametrize(
    ("kind", "text", "constraint"),
    [
        (
            asyncpg.UniqueViolationError,
            'duplicate key value violates unique constraint "account_emails_pkey_102270"',
            "account_emails_pkey",
        ),
        (
            asyncpg.ForeignKeyViolationError,
            'insert or update on table "task_clocks_102185" violates foreign key constraint '
            '"task_clocks_user_fkey_102185"',
            "task_clocks_user_fkey",
        ),
        (asyncpg.UniqueViolationError, "doppelter Schlüsselwert verletzt »tasks_pkey_102045«", "tasks_pkey"),
        (asyncpg.UniqueViolationError, "duplicate key", None),
        (asyncpg.QueryCanceledError, 'about "tasks_pkey_102045"', None),
        (ValueError, "tasks_pkey_102045", None),
    ],
)
def test_a_constraint_is_found_in_the_text_of_a_servers_error(
    kind: type[Exception], text: str, constraint: str | None
) -> None:
    error = kind(text)
    error.__dict__["detail"] = 'Key (email_key)=(x_123456) is not present in table "users_102025".'
    assert citus.constraint_of(error) == constraint


def test_a_constraint_that_is_named_has_no_shard() -> None:
    for name in ("tasks_pkey", "tasks_pkey_102045"):
        error = asyncpg.UniqueViolationError("…")
        error.constraint_name = name
        assert citus.constraint_of(error) == "tasks_pkey"


async def test_a_connection_that_cannot_be_asked_is_closed(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert await citus.is_present(connection) is False
    assert not connection.is_closed()
    await connection.execute("BEGIN")
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await connection.execute("nonsense")
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await citus.is_present(connection)
    assert connection.is_closed()
