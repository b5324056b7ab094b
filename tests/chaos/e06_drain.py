"""Drain: SIGTERM and rolling restarts under 100 clients.

Pass: no request on an established connection fails; the exit status is 0 within the drain and 2 s; none is refused
while workers are replaced.
"""

import asyncio
import os
import signal
import time

from tests.chaos.load import SLOWLY, Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = True
DRAIN = 1.0


async def run(report: Report, *, short: bool) -> None:
    async with stage(DRAIN_SECONDS=str(DRAIN)) as on:
        async with Writers(on, clients=20 if short else 100, pause=SLOWLY if short else 0) as history:
            for _ in range(1 if short else 4):
                await asyncio.sleep(1)
                old = set(on.service.workers())
                os.kill(on.service.pid, signal.SIGHUP)
                deadline = time.monotonic() + 25
                while set(on.service.workers()) & old and time.monotonic() < deadline:
                    await asyncio.sleep(0.1)
            report.equals("requests without an answer during rolling restarts", history.statuses[0], 0)
        await judge(on, history, report)
        statuses, slowest = set(), 0.0
        wrong: list[str] = []
        for _ in range(1 if short else 20):
            async with Writers(on, clients=20 if short else 100, pause=SLOWLY if short else 0) as ended:
                await asyncio.sleep(0.5)
                began = time.monotonic()
                statuses.add(await asyncio.to_thread(on.service.end))
                slowest = max(slowest, time.monotonic() - began)
                report_of_end = ended
                on.service.start()
                await on.service.until_ready()
            await judge(on, report_of_end, single := Report("E6"))
            wrong += [f"{figure.name}: {figure.value}" for figure in single.figures if not figure.holds]
        report.equals("ends after which something was lost", wrong, [])
        report.equals("exit statuses", statuses, {0})
        report.at_most("seconds to the end", slowest, DRAIN + 3)
