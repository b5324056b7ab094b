"""Windows in memory: they slide, they are exact, and they take bounded room."""

import tracemalloc
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from todo_service.limits.rate_memory import MemoryWindows


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Spent(NamedTuple):
    admitted: bool
    remaining: int
    reset: float


Spend = Callable[[str, int], Awaitable[Spent]]


MINUTE, HOUR = 60, 3600


def spending(windows: MemoryWindows, clock: Clock, seconds: int) -> Spend:
    """Spends one of so many for a key."""

    async def spend(key: str, limit: int) -> Spent:
        admitted, oldest, used = windows.hit(key, limit, seconds)
        assert windows.hit(key, limit, seconds, 0)[1:] == (oldest, used)
        return Spent(admitted, limit - used, oldest + seconds - clock.now)

    return spend


async def test_the_window_slides_so_that_no_minute_ever_has_more() -> None:
    clock = Clock()
    windows = MemoryWindows(clock=clock)
    spend = spending(windows, clock, MINUTE)
    clock.now = 1059.0  # a burst at the end of what would be a fixed minute
    assert [(await spend("ada", 5)).admitted for _ in range(6)] == [True] * 5 + [False]
    clock.now = 1061.0
    assert not (await spend("ada", 5)).admitted, "a fixed window would begin anew here"
    clock.now = 1118.9
    assert not (await spend("ada", 5)).admitted
    clock.now = 1119.1
    assert [(await spend("ada", 5)).admitted for _ in range(6)] == [True] * 5 + [False]


async def test_no_minute_has_more_however_requests_are_spread() -> None:
    clock, admitted = Clock(), []
    windows = MemoryWindows(clock=clock)
    spend = spending(windows, clock, MINUTE)
    for step in range(3000):
        clock.now = 1000.0 + step * 0.37
        if (await spend("ada", 10)).admitted:
            admitted.append(clock.now)
    assert len(admitted) > 150
    assert all(later - earlier >= 60 for earlier, later in zip(admitted, admitted[10:], strict=False))


async def test_what_is_left_and_when_there_is_more() -> None:
    clock = Clock()
    windows = MemoryWindows(clock=clock)
    spend = spending(windows, clock, MINUTE)
    assert [(spent.remaining, spent.reset) for spent in ((await spend("a", 2)), (await spend("a", 2)))] == [
        (1, 60.0), (0, 60.0),
    ]  # fmt: skip
    clock.now += 18.5
    refused = await spend("a", 2)
    assert (refused.admitted, refused.remaining, refused.reset) == (False, 0, 41.5)
    assert (await spend("b", 2)).admitted, "others are not concerned"


async def test_a_window_may_be_longer() -> None:
    clock = Clock()
    windows = MemoryWindows(clock=clock)
    spend, briefly = (spending(windows, clock, item) for item in (HOUR, MINUTE))
    assert [(await spend("a", 2)).reset for _ in range(2)] == [3600, 3600]
    clock.now += 3599
    for _ in range(3):
        await briefly("b", 9)
    assert (await spend("a", 2)).admitted is False, "shorter ones do not clear it away"
    clock.now += 1.001
    assert (await spend("a", 2)).admitted


async def test_refusals_are_not_counted() -> None:
    clock = Clock()
    windows = MemoryWindows(clock=clock)
    spend = spending(windows, clock, MINUTE)
    await spend("a", 1)
    for _ in range(59):
        clock.now += 1
        assert not (await spend("a", 1)).admitted
    clock.now += 1.001
    assert (await spend("a", 1)).admitted


async def test_keys_that_are_no_longer_asked_for_are_forgotten() -> None:
    clock = Clock()
    windows = MemoryWindows(clock=clock)
    spend = spending(windows, clock, MINUTE)
    for number in range(1000):
        await spend(f"k{number}", 5)
    clock.now += 61
    for _ in range(600):
        await spend("a", 600)
    assert len(windows) == 1


async def test_memory_is_bounded_and_the_bound_takes_who_was_away_longest() -> None:
    windows = MemoryWindows(max_keys=1000)
    spend = spending(windows, Clock(), MINUTE)
    await spend("first", 1)
    for number in range(999):
        await spend(f"k{number}", 1)
    assert not (await spend("first", 1)).admitted
    for number in range(5000):
        await spend(f"other{number}", 1)
    assert len(windows) == 1000
    assert (await spend("first", 1)).admitted


async def test_who_came_first_and_still_comes_neither_begins_anew_nor_keeps_others_from_being_forgotten() -> None:
    clock = Clock()
    windows = MemoryWindows(max_keys=100, clock=clock)
    spend = spending(windows, clock, MINUTE)
    await spend("first", 5)
    for number in range(150):
        await spend(f"k{number}", 5)
        if number % 50 == 0:
            assert (await spend("first", 5)).admitted
    assert (await spend("first", 5)).remaining == 0
    clock.now += 59
    await spend("once", 5)
    clock.now += 2
    for _ in range(60):
        await spend("other", 60)
    assert len(windows) == 2, "of the last minute"


async def test_a_key_is_only_forgotten_when_its_last_moment_is_over() -> None:
    clock = Clock()
    spend = spending(MemoryWindows(clock=clock), clock, MINUTE)
    await spend("a", 5)
    clock.now += 50
    await spend("a", 5)
    clock.now += 11
    await spend("b", 5)
    assert (await spend("a", 5)).remaining == 3


async def test_there_is_one_more_when_the_oldest_goes() -> None:
    clock = Clock()
    spend = spending(MemoryWindows(clock=clock), clock, MINUTE)
    for _ in range(2):
        await spend("a", 2)
        clock.now += 20
    refused = await spend("a", 2)
    assert (refused.admitted, refused.reset) == (False, 20.0)


async def test_asking_how_a_window_stands_takes_nothing_from_it() -> None:
    clock = Clock()
    windows = MemoryWindows(clock=clock)
    assert windows.hit("a", 2, MINUTE, 0) == (True, 1000.0, 0)
    assert windows.hit("a", 2, MINUTE).admitted
    clock.now += 10
    assert [windows.hit("a", 2, MINUTE, 0) for _ in range(3)] == [(True, 1000.0, 1)] * 3
    assert windows.hit("a", 2, MINUTE).admitted
    assert windows.hit("a", 2, MINUTE, 0) == (True, 1000.0, 2)
    clock.now += 50.001
    assert windows.hit("a", 2, MINUTE, 0) == (True, 1010.0, 1)


async def test_several_at_once_are_admitted_together_or_not_at_all() -> None:
    windows = MemoryWindows(clock=Clock())
    assert [windows.hit("a", 5, MINUTE, cost).admitted for cost in (3, 3, 2, 1)] == [True, False, True, False]


async def test_the_bound_is_about_30_megabytes() -> None:
    tracemalloc.start()
    try:
        windows = MemoryWindows()
        for number in range(150_000):
            windows.hit(f"todo:read/{number:032x}/100/1/minute", 100, 60)
        assert len(windows) == 100_000
        assert tracemalloc.get_traced_memory()[0] < 40_000_000
    finally:
        tracemalloc.stop()
