"""What blocks the event loop is named in the log; what only waits is not."""

import asyncio
import threading
import time
from typing import Any

from todo_service.limits.load import Load
from todo_service.observability.event_loop import StackSampler, monitor
from todo_service.observability.metrics import Metrics


def dawdle() -> None:
    time.sleep(0.6)


async def test_a_stall_is_logged_with_the_place_it_stood_at(logged: list[Any]) -> None:
    threads = threading.active_count()  # other services in this process have their own
    watching = asyncio.create_task(monitor(Metrics(), Load(max_busy=1), lambda: None))
    await asyncio.sleep(0.3)
    dawdle()
    await asyncio.sleep(0.3)
    watching.cancel()
    await asyncio.wait([watching])
    stalls = [entry for entry in logged if entry["event"] == "event_loop_stalled"]
    assert any(entry["ms"] > 400 and "in dawdle" in entry["stack"] for entry in stalls)
    assert threading.active_count() == threads


def test_it_sees_nothing_while_there_are_turns() -> None:
    with StackSampler(0.4) as sampler:
        for _ in range(4):
            time.sleep(0.15)
            assert sampler.tick() is None
        time.sleep(0.8)
        assert "test_it_sees_nothing" in (sampler.tick() or "")
        assert sampler.tick() is None
