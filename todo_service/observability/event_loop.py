"""The event-loop monitor: how late the loop wakes, where it is blocked, and the gauges that are read at every tick.

A delay of the loop is a delay of every request. A blocked loop cannot report its stack, so a thread samples it.
"""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType

import structlog

from todo_service.limits.load import Load
from todo_service.observability.metrics import Metrics

TICK_SECONDS = 0.1
STALL_SECONDS = 0.1  # a longer delay is logged
SAMPLE_SECONDS = 0.05
LOG_PAUSE_SECONDS = 1.0  # between two lines about refused requests
FRAMES = 20  # of the stack, the innermost ones

log = structlog.get_logger()


async def monitor(metrics: Metrics, load: Load, read_gauges: Callable[[], None]) -> None:
    """Measure for ever, call `read_gauges` at every tick, and log stalls and refused requests."""
    loop = asyncio.get_running_loop()
    logged_at, logged = 0.0, load.refused
    with StackSampler(TICK_SECONDS + STALL_SECONDS) as sampler:
        while True:
            due = loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            late = max(0.0, loop.time() - due)
            metrics.lag.observe(late)
            stack = sampler.tick()
            if late > STALL_SECONDS:
                log.warning("event_loop_stalled", ms=round(late * 1000), stack=stack)
            metrics.in_flight.set(load.in_flight)
            read_gauges()
            if load.refused > logged and loop.time() - logged_at > LOG_PAUSE_SECONDS:
                log.warning("overloaded", refused=load.refused - logged, busy=load.busy)
                logged_at, logged = loop.time(), load.refused


class StackSampler:
    """A thread that takes the stack of the thread that entered it, when `tick` is not called for `patience` seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._sampled = threading.get_ident()
        self._ticked_at = time.monotonic()
        self._stack: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stack sampler", daemon=True)

    def __enter__(self) -> "StackSampler":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def tick(self) -> str | None:
        """Report that the thread runs. Returns the stack it was blocked at before: files, lines and code, no values."""
        stack, self._stack = self._stack, None
        self._ticked_at = time.monotonic()
        return stack

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            if self._stack is None and time.monotonic() - self._ticked_at > self._patience:
                frame = sys._current_frames().get(self._sampled)
                self._stack = "".join(traceback.format_stack(frame)[-FRAMES:])
