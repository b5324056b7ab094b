"""Work that many requests want at once is done once, and all of them get its result."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedWork(Generic[T]):
    """One piece of work, at most one at a time. It goes on if a request that waits for it is cancelled.

    Args:
        work: The work.
        seconds: How long a result is given to later requests too; an exception is not.
        is_kept: Which results are.
    """

    def __init__(
        self, work: Callable[[], Awaitable[T]], *, seconds: float = 0, is_kept: Callable[[T], bool] = lambda _: True
    ) -> None:
        self._work = work
        self._seconds = seconds
        self._is_kept = is_kept
        self._task: asyncio.Task[T] | None = None
        self._until = 0.0

    async def result(self) -> T:
        """Return the result of the work that is being done, of the last one if it is fresh, or of new work."""
        loop = asyncio.get_running_loop()
        if self._task is None or (self._task.done() and loop.time() >= self._until):
            self._task = asyncio.create_task(self._run())
        return await asyncio.shield(self._task)

    async def _run(self) -> T:
        result = await self._work()
        if self._is_kept(result):
            self._until = asyncio.get_running_loop().time() + self._seconds
        return result
