"""Tracebacks as the log has them: where, in which lines of code and which kind of error; never what users sent.

What an error says may be data: PostgreSQL repeats rows in its details, asyncpg arguments, Python the text that is no
number. So an error's words are told only where they speak of code or of the network; values of variables never are.
"""

import ssl
import traceback
from collections.abc import Iterator

import asyncpg

# These say what is wrong with the code, with a file or with a connection.
SPOKEN = (AttributeError, NameError, TypeError, ImportError, AssertionError, RuntimeError, OSError)
FIELDS = ("sqlstate", "schema_name", "table_name", "column_name", "constraint_name", "data_type_name")
MAX_WORDS = 300  # characters
MAX_DEPTH = 10

Failure = tuple[type[BaseException], BaseException, object]


def written(failure: Failure) -> str:
    """The traceback of an error and of those it came from, innermost cause first."""
    return "\n".join(_chain(failure[1], MAX_DEPTH))


def described(error: BaseException) -> str:
    """One line: the kind of error and what may be told of it."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    words = _words(error)
    return f"{name}: {words}" if words else name


def _words(error: BaseException) -> str:
    if isinstance(error, asyncpg.PostgresError):
        return " ".join(f"{field}={value}" for field in FIELDS if (value := getattr(error, field, None)))
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "")
    if isinstance(error, SPOKEN) or type(error) is asyncpg.InterfaceError:
        return str(error)[:MAX_WORDS]
    return "(what it says may be data and is left out)" if str(error) else ""


def _chain(error: BaseException, depth: int) -> Iterator[str]:
    if depth == 0:
        yield "(and more)"
        return
    cause = error.__cause__
    if cause is None and not error.__suppress_context__:
        cause = error.__context__
    if cause is not None:
        yield from _chain(cause, depth - 1)
        yield "which led to:"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip()
    yield described(error)
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield "of which one:"
            yield from _chain(part, depth - 1)
