"""A task that sleeps and looks how late it wakes: what it loses, every request loses. It also reads the gauges."""

import asyncio
from collections.abc import Callable

import structlog

from todo_service.limits.load import Life
from todo_service.observability.metrics import Metrics
from todo_service.observability.watchdog import Watchdog

EVERY = 0.1  # seconds
STALL = 0.1  # seconds from which on a delay is worth a line in the log
QUIET = 1.0  # seconds between two lines about refused requests

log = structlog.get_logger()


async def watch(metrics: Metrics, life: Life, read_gauges: Callable[[], None]) -> None:
    """Measure for ever, call `read_gauges` at every turn, and tell of stalls and of refused requests."""
    loop = asyncio.get_running_loop()
    told_at, told = 0.0, life.refused
    with Watchdog(EVERY + STALL) as watchdog:
        while True:
            due = loop.time() + EVERY
            await asyncio.sleep(EVERY)
            late = max(0.0, loop.time() - due)
            metrics.lag.observe(late)
            stack = watchdog.turn()
            if late > STALL:
                log.warning("event_loop_stalled", ms=round(late * 1000), stack=stack)
            read_gauges()
            if life.refused > told and loop.time() - told_at > QUIET:
                log.warning("overloaded", refused=life.refused - told, busy=life.busy)
                told_at, told = loop.time(), life.refused
