"""One connection, which reports how long each of its statements took, and the deadlines of the blocks that hold one.

The deadlines of all requests are checked together: a timer for each would cost as much as running a statement.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection  # subscriptable in the stubs only

UNNAMED = object()  # stands for the users of a connection before they are named
TICK_SECONDS = 0.02


class NotReplicatedError(ConnectionError):
    """PostgreSQL has committed, but a canceller ended its wait for the synchronous standby: a failover may lose it."""


class TimedConnection(Connection):
    """A connection that reports each statement; asyncpg's own query loggers cost as much as the statement.

    Attributes:
        owners: The users with rows that row-level security shows it; `UNNAMED` until they are named.
        running_since: The moment of `time.monotonic` when the present statement was sent; None between statements.
        is_unreplicated: Whether PostgreSQL has warned that a commit did not wait for its standby.
        is_distributed: Whether it leads to the coordinator of a Citus cluster (postgres/citus.py).
    """

    owners: object = UNNAMED
    running_since: float | None = None
    is_unreplicated = False
    is_distributed = False
    on_statement: Callable[[str, float], None] = staticmethod(lambda _, __: None)

    async def _execute(self, query: str, *args: Any, **options: Any) -> Any:
        """Run a statement of `fetch`, `fetchrow`, `fetchval`, or of `execute` with arguments."""
        started = self.running_since = time.monotonic()
        try:
            result = await super()._execute(query, *args, **options)  # type: ignore[misc]
        finally:
            self.running_since = None
            self.on_statement(query, time.monotonic() - started)
        if self.is_unreplicated:
            self._refuse_unreplicated()
        return result

    async def execute(self, query: str, *args: Any, **options: Any) -> str:
        if args:
            return await super().execute(query, *args, **options)
        started = self.running_since = time.monotonic()
        try:
            status = await super().execute(query, **options)
        finally:
            self.running_since = None
            self.on_statement(query, time.monotonic() - started)
        if self.is_unreplicated:
            self._refuse_unreplicated()
        return status

    def _process_log_message(self, fields: Any, last_query: Any) -> None:
        """Take a warning of the server; its text may be in any language, the routine's name is not."""
        if fields.get("R") == "SyncRepWaitForLSN":
            self.is_unreplicated = True
        super()._process_log_message(fields, last_query)  # type: ignore[misc]

    def _refuse_unreplicated(self) -> None:
        self.is_unreplicated = False
        raise NotReplicatedError("The commit did not wait for the synchronous standby.")


def is_distributed(db: Connection) -> bool:
    """Return whether the tables are spread over several servers, so that a statement must keep to one shard."""
    return getattr(db, "is_distributed", False) is True


@asynccontextmanager
async def in_transaction(db: Connection) -> AsyncIterator[None]:
    """Run the block in the transaction that is under way, or inside BEGIN and COMMIT.

    After a `TimeoutError` out of COMMIT the outcome is unknown.
    """
    if db.is_in_transaction():
        yield
        return
    transaction = db.transaction(isolation="read_committed")
    await transaction.start()
    try:
        yield
    except (TimeoutError, asyncio.CancelledError):
        raise  # The connection is thrown away; a ROLLBACK would wait for the frozen server once more.
    except BaseException as error:
        await roll_back(db, transaction, error)
        raise
    await transaction.commit()


async def roll_back(db: Any, transaction: Any, error: BaseException) -> None:
    """Roll back, or throw the connection away: no other request may get it inside a transaction."""
    try:
        await transaction.rollback()
    except Exception as failure:
        db.terminate()
        error.add_note(f"The transaction could not be rolled back: {type(failure).__name__}")


class Deadline:
    """A deadline of a block in the current task. `deadlines` cancels the task up to a tick before it passes."""

    __slots__ = ("_cancelling", "_deadlines", "_is_overdue", "_task", "due")

    _task: asyncio.Task[Any]

    def __init__(self, deadlines: "Deadlines") -> None:
        self._deadlines = deadlines
        self._is_overdue = False
        self.due = 0.0

    def begin(self, seconds: float) -> float:
        """Begin with a deadline in `seconds`; `due` can be moved later. Returns the present moment."""
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        now = time.monotonic()
        self.due = now + seconds
        self._deadlines.add(self)
        return now

    def end(self, error: BaseException | None) -> None:
        """End with the block. Raises `TimeoutError` in the place of our own cancellation, as `asyncio.timeout` does."""
        self._deadlines.remove(self)
        if self._is_overdue and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error

    def is_over(self, moment: float) -> bool:
        """Return whether the deadline has passed at this moment of `time.monotonic`."""
        return self.due <= moment

    def cancel(self) -> None:
        """Cancel the task, once."""
        if not self._is_overdue:
            self._is_overdue = True
            self._task.cancel()


class Deadlines:
    """The deadlines that have begun and not ended."""

    def __init__(self) -> None:
        self._begun: set[Deadline] = set()
        self._tick: asyncio.TimerHandle | None = None

    def add(self, deadline: Deadline) -> None:
        """Watch over a deadline."""
        self._begun.add(deadline)
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(TICK_SECONDS, self._check)

    def remove(self, deadline: Deadline) -> None:
        """Forget a deadline."""
        self._begun.discard(deadline)

    def _check(self) -> None:
        next_tick, self._tick = time.monotonic() + TICK_SECONDS, None
        for deadline in self._begun:
            if deadline.is_over(next_tick):
                deadline.cancel()
        if self._begun:
            self._tick = asyncio.get_running_loop().call_later(TICK_SECONDS, self._check)
