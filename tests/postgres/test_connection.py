"""Deadlines of blocks: `TimeoutError` when they pass, and nothing else is taken for that."""

import asyncio
import time

import pytest

from todo_service.postgres.connection import Deadline, Deadlines


async def under(deadline: Deadline, seconds: float, block: float) -> None:
    deadline.begin(seconds)
    try:
        await asyncio.sleep(block)
    except BaseException as error:
        deadline.end(error)
        raise
    deadline.end(None)


async def test_a_block_that_lasts_too_long_times_out_in_time() -> None:
    deadlines = Deadlines()
    started = time.monotonic()
    outcomes = await asyncio.gather(
        *(under(Deadline(deadlines), seconds, 5) for seconds in (0.1, 0.2)),
        *(under(Deadline(deadlines), 5, block) for block in (0, 0.15)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [TimeoutError, TimeoutError, type(None), type(None)]
    assert 0.15 < time.monotonic() - started < 0.25


async def test_a_cancellation_from_outside_stays_one() -> None:
    task = asyncio.create_task(under(Deadline(Deadlines()), 5, 5))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_deadline_inside_a_shorter_one_of_asyncio_leaves_it_alone() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await under(Deadline(Deadlines()), 5, 5)


async def test_a_deadline_can_be_moved() -> None:
    deadline = Deadline(Deadlines())
    began = deadline.begin(0.05)
    deadline.due = began + 5
    await asyncio.sleep(0.1)
    assert not deadline.is_over(time.monotonic())
    deadline.end(None)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
