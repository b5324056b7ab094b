"""Soak: one random fault after the other, with a prober of ten requests a second.

Pass: nothing acknowledged is lost, and outside of the faults at least 99.9 % of the probes succeed.
"""

import asyncio
import os
import random
import signal
import time
from contextlib import suppress

from tests.chaos.load import Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import Stage, stage

SHORT = False
FAULTS = 8
PAUSE, SETTLE = 5.0, 3.0  # seconds between faults, and after one before the probes count again


async def break_something(on: Stage) -> str:
    fault = random.choice(["worker", "rolling restart", "database", "freeze", "service"])
    if fault == "worker":
        with suppress(ProcessLookupError):
            os.kill(random.choice(on.service.workers()), signal.SIGKILL)
    elif fault == "rolling restart":
        os.kill(on.service.pid, signal.SIGHUP)
    elif fault == "database":
        on.postgres.kill()
        on.postgres.start()
        await on.postgres.until_accepting("todo")
    elif fault == "freeze":
        on.postgres.freeze()
        await asyncio.sleep(3)
        on.postgres.thaw()
    else:
        on.service.kill()
        on.service.start()
        await on.service.until_ready()
    return fault


async def run(report: Report, *, short: bool) -> None:
    async with stage() as on:
        _, headers = await on.new_user()
        probes: list[tuple[float, bool]] = []
        windows: list[tuple[float, float]] = []
        stop = asyncio.Event()

        async def probe() -> None:
            while not stop.is_set():
                began = time.monotonic()
                probes.append((began, (await on.status("/api/v1/tasks", headers))[0] == 200))
                await asyncio.sleep(max(0.0, 0.1 - (time.monotonic() - began)))

        probing = asyncio.create_task(probe())
        async with Writers(on, clients=10, pause=0.05) as history:
            for _ in range(FAULTS):
                await asyncio.sleep(PAUSE)
                began = time.monotonic()
                await break_something(on)
                windows.append((began - 0.5, time.monotonic() + SETTLE))
            await asyncio.sleep(PAUSE)
        stop.set()
        await probing
        await judge(on, history, report)
        outside = [good for at, good in probes if not any(start <= at <= end for start, end in windows)]
        report.at_least("probes outside of the faults", len(outside), 50)
        report.at_least("of them answered", sum(outside) / max(1, len(outside)), 0.999)
