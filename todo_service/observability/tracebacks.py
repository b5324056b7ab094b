"""Tracebacks for the log: the place, the lines of code and the kind of error, never the text of users.

The message of an error may hold data: PostgreSQL repeats rows in its details, asyncpg arguments, Python the text that
is not a number. So only messages about code or the network are logged; values of variables never are.
"""

import ssl
import traceback
from collections.abc import Iterator

import asyncpg

# Their messages are about the code, a file or a connection.
SPOKEN = (AttributeError, NameError, TypeError, ImportError, AssertionError, RuntimeError, OSError)
FIELDS = ("sqlstate", "schema_name", "table_name", "column_name", "constraint_name", "data_type_name")
MAX_WORDS = 300  # characters
MAX_DEPTH = 10

Failure = tuple[type[BaseException], BaseException, object]


def format_traceback(failure: Failure) -> str:
    """Return the traceback of an error and of its causes, innermost first."""
    return "\n".join(_chain(failure[1], MAX_DEPTH))


def describe(error: BaseException) -> str:
    """Return one line: the kind of error and the loggable part of its message."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    words = loggable(error)
    return f"{name}: {words}" if words else name


def loggable(error: BaseException) -> str:
    """Return the part of an error's message that is about code or the network."""
    if isinstance(error, asyncpg.PostgresError):
        return " ".join(f"{field}={value}" for field in FIELDS if (value := getattr(error, field, None)))
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "")
    if isinstance(error, SPOKEN) or type(error) is asyncpg.InterfaceError:
        return str(error)[:MAX_WORDS]
    return "(what it says may be data and is left out)" if str(error) else ""


def chain(error: BaseException, depth: int = MAX_DEPTH) -> Iterator[BaseException]:
    """Yield an error, its causes, and the parts of a group."""
    if depth:
        yield error
        for other in (_cause(error), *(error.exceptions if isinstance(error, BaseExceptionGroup) else ())):
            if other is not None:
                yield from chain(other, depth - 1)


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is None and not error.__suppress_context__:
        return error.__context__
    return error.__cause__


def _chain(error: BaseException, depth: int) -> Iterator[str]:
    if depth == 0:
        yield "(and more)"
        return
    if (cause := _cause(error)) is not None:
        yield from _chain(cause, depth - 1)
        yield "which led to:"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip()
    yield describe(error)
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield "of which one:"
            yield from _chain(part, depth - 1)
