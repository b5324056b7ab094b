"""Tracebacks say where and what kind, never what was in a row, an argument or a variable."""

import sys

import asyncpg
import pytest

from tests.conftest import temporary_database
from todo_service.observability.tracebacks import Failure, describe, format_traceback

CANARY = "canary-in-a-row"


def failure(error: BaseException) -> Failure:
    return type(error), error, error.__traceback__


async def test_postgres_tells_rows_and_we_do_not(postgres_url: str) -> None:
    failing = {
        f"INSERT INTO things VALUES ('{CANARY}')": "sqlstate=23505 schema_name=public table_name=things constraint",
        "INSERT INTO things VALUES (NULL)": "sqlstate=23502 schema_name=public table_name=things column_name=name",
        f"INSERT INTO things VALUES ('{CANARY}-long')": "sqlstate=23514",
        f"SELECT '{CANARY}'::uuid": "sqlstate=22P02",
    }
    async with temporary_database(postgres_url) as url:
        db = await asyncpg.connect(url)
        try:
            await db.execute("CREATE TABLE things (name text UNIQUE NOT NULL CHECK (length(name) < 20))")
            await db.execute(f"INSERT INTO things VALUES ('{CANARY}')")
            for statement, told in failing.items():
                with pytest.raises(asyncpg.PostgresError) as raised:
                    await db.execute(statement)
                text = format_traceback(failure(raised.value))
                assert told in text
                assert "Traceback (most recent call last):" in text
                assert CANARY not in text
                assert (CANARY in str(raised.value)) == (CANARY in statement)
            with pytest.raises(asyncpg.DataError, match=CANARY) as refused:
                await db.fetch("SELECT $1::int", CANARY)
            assert CANARY not in format_traceback(failure(refused.value))
        finally:
            await db.close()


def test_every_link_of_the_chain_is_told() -> None:
    def read(secret: str) -> int:
        try:
            return int(secret)
        except ValueError as error:
            raise RuntimeError("no number") from error

    try:
        read(CANARY)
    except RuntimeError:
        text = format_traceback(sys.exc_info())  # type: ignore[arg-type]
    assert text.index("ValueError: (what it says may be data") < text.index("which led to:")
    assert text.index("which led to:") < text.index("RuntimeError: no number")
    assert text.count("Traceback (most recent call last):") == 2
    assert "return int(secret)" in text
    assert CANARY not in text


def test_groups_and_endless_chains() -> None:
    group = ExceptionGroup(CANARY, [KeyError(CANARY), AttributeError("no such attribute")])
    text = format_traceback(failure(group))
    assert "KeyError" in text
    assert "AttributeError: no such attribute" in text
    assert CANARY not in text
    error: Exception = ValueError(CANARY)
    for _ in range(50):
        wrapping = ValueError(CANARY)
        wrapping.__cause__, error = error, wrapping
    text = format_traceback(failure(error))
    assert text.count("ValueError") == 10
    assert CANARY not in text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("k"), "KeyError: (what it says may be data and is left out)"),
        (ValueError(), "ValueError"),
        (TypeError("no"), "TypeError: no"),
        (ConnectionResetError("gone"), "ConnectionResetError: gone"),
        (
            UnicodeDecodeError("utf-8", b"x", 0, 1, "y"),
            "UnicodeDecodeError: (what it says may be data and is left out)",
        ),
        (asyncpg.InterfaceError("another operation"), "asyncpg.exceptions._base.InterfaceError: another operation"),
        (RuntimeError("x" * 1000), "RuntimeError: " + "x" * 300),
    ],
)
def test_what_is_told_of_an_error(error: Exception, told: str) -> None:
    assert describe(error) == told
