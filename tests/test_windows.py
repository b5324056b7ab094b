"""Windows in memory: they slide, they are exact, and they take bounded room."""

import tracemalloc

from todo_service.windows import Windows


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_window_slides_so_that_no_minute_ever_has_more() -> None:
    clock = Clock()
    windows = Windows(clock=clock)
    clock.now = 1059.0  # a burst at the end of what would be a fixed minute
    assert [windows.spend("ada", 5).admitted for _ in range(6)] == [True] * 5 + [False]
    clock.now = 1061.0
    assert not windows.spend("ada", 5).admitted, "a fixed window would begin anew here"
    clock.now = 1118.9
    assert not windows.spend("ada", 5).admitted
    clock.now = 1119.1
    assert [windows.spend("ada", 5).admitted for _ in range(6)] == [True] * 5 + [False]


def test_no_minute_has_more_however_requests_are_spread() -> None:
    clock, admitted = Clock(), []
    windows = Windows(clock=clock)
    for step in range(3000):
        clock.now = 1000.0 + step * 0.37
        if windows.spend("ada", 10).admitted:
            admitted.append(clock.now)
    assert len(admitted) > 150
    assert all(later - earlier >= 60 for earlier, later in zip(admitted, admitted[10:], strict=False))


def test_what_is_left_and_when_there_is_more() -> None:
    clock = Clock()
    windows = Windows(clock=clock)
    assert [(spent.remaining, spent.reset) for spent in (windows.spend("a", 2), windows.spend("a", 2))] == [
        (1, 60.0), (0, 60.0),
    ]  # fmt: skip
    clock.now += 18.5
    refused = windows.spend("a", 2)
    assert (refused.admitted, refused.remaining, refused.reset) == (False, 0, 41.5)
    assert windows.spend("b", 2).admitted, "others are not concerned"


def test_a_window_may_be_longer() -> None:
    clock = Clock()
    windows = Windows(3600, clock=clock)
    assert [windows.spend("a", 2).reset for _ in range(2)] == [3600, 3600]
    clock.now += 3599
    assert (windows.spend("a", 2).admitted, len(windows)) == (False, 1)
    clock.now += 1.001
    assert windows.spend("a", 2).admitted


def test_refusals_are_not_counted() -> None:
    clock = Clock()
    windows = Windows(clock=clock)
    windows.spend("a", 1)
    for _ in range(59):
        clock.now += 1
        assert not windows.spend("a", 1).admitted
    clock.now += 1.001
    assert windows.spend("a", 1).admitted


def test_keys_that_are_no_longer_asked_for_are_forgotten() -> None:
    clock = Clock()
    windows = Windows(clock=clock)
    for number in range(1000):
        windows.spend(f"k{number}", 5)
    clock.now += 61
    for _ in range(600):
        windows.spend("a", 5)
    assert len(windows) == 1


def test_memory_is_bounded_and_the_bound_takes_who_was_away_longest() -> None:
    windows = Windows(max_keys=1000)
    windows.spend("first", 1)
    for number in range(999):
        windows.spend(f"k{number}", 1)
    assert not windows.spend("first", 1).admitted
    for number in range(5000):
        windows.spend(f"other{number}", 1)
    assert len(windows) == 1000
    assert windows.spend("first", 1).admitted


def test_the_bound_is_about_30_megabytes() -> None:
    tracemalloc.start()
    try:
        windows = Windows()
        for number in range(150_000):
            windows.spend(f"todo:read:{number:032x}", 100)
        assert len(windows) == 100_000
        assert tracemalloc.get_traced_memory()[0] < 40_000_000
    finally:
        tracemalloc.stop()
