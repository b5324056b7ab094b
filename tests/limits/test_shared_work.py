"""Work that many ask for is done once, and each of them gets its result."""

import asyncio

import pytest

from todo_service.limits.shared_work import SharedWork


class Counted:
    """Work that counts how often it is done, and how often at once."""

    def __init__(self, *, fails: int = 0) -> None:
        self.done = 0
        self.at_once = 0
        self.most = 0
        self.fails = fails

    async def __call__(self) -> int:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.02)
        self.at_once -= 1
        self.done += 1
        if self.done <= self.fails:
            raise RuntimeError("not this time")
        return self.done


async def test_those_who_ask_at_once_share_one_result() -> None:
    work = Counted()
    shared = SharedWork(work)
    assert await asyncio.gather(*(shared.result() for _ in range(100))) == [1] * 100
    assert await asyncio.gather(*(shared.result() for _ in range(100))) == [2] * 100
    assert work.most == 1


async def test_a_result_is_kept_for_its_time() -> None:
    shared = SharedWork(Counted(), seconds=0.05)
    assert [await shared.result() for _ in range(5)] == [1] * 5
    await asyncio.sleep(0.06)
    assert await shared.result() == 2


async def test_only_some_results_are_kept() -> None:
    shared = SharedWork(Counted(), seconds=60, is_kept=lambda result: result == 2)
    assert [await shared.result() for _ in range(4)] == [1, 2, 2, 2]


async def test_a_failure_is_shared_and_not_kept() -> None:
    shared = SharedWork(Counted(fails=1), seconds=60)
    first = await asyncio.gather(*(shared.result() for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in first] == ["not this time"] * 3
    assert await shared.result() == 2


async def test_who_goes_away_takes_nothing_from_the_others() -> None:
    shared = SharedWork(Counted())
    leaving, staying = [asyncio.create_task(shared.result()) for _ in range(2)]
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 1
    with pytest.raises(asyncio.CancelledError):
        await leaving
