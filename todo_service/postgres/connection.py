"""One connection, which reports how long each of its statements took."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection  # subscriptable in the stubs only


class TimedConnection(Connection):
    """A connection that reports each statement; asyncpg's own query loggers cost as much as the statement.

    Attributes:
        running_since: The moment of `time.monotonic` when the present statement was sent; None between statements.
    """

    running_since: float | None = None
    on_statement: Callable[[str, float], None] = staticmethod(lambda _, __: None)

    async def _execute(self, query: str, *args: Any, **options: Any) -> Any:
        """Run a statement of `fetch`, `fetchrow`, `fetchval`, or of `execute` with arguments."""
        started = self.running_since = time.monotonic()
        try:
            return await super()._execute(query, *args, **options)  # type: ignore[misc]
        finally:
            self.running_since = None
            self.on_statement(query, time.monotonic() - started)

    async def execute(self, query: str, *args: Any, **options: Any) -> str:
        if args:
            return await super().execute(query, *args, **options)
        started = self.running_since = time.monotonic()
        try:
            return await super().execute(query, **options)
        finally:
            self.running_since = None
            self.on_statement(query, time.monotonic() - started)
