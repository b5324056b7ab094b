"""Crash: workers and the whole service are killed while 50 clients create tasks.

Pass: every acknowledged write is there exactly once, no write twice, and the first 201 comes within 2 s of a restart.
"""

import asyncio
import os
import random
import signal
from contextlib import suppress

from tests.chaos.load import SLOWLY, Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = True


async def run(report: Report, *, short: bool) -> None:
    slowest = 0.0
    async with stage() as on:
        async with Writers(on, clients=10 if short else 50, pause=SLOWLY if short else 0) as history:
            for number in range(3 if short else 20):
                await asyncio.sleep(random.uniform(0.3, 1.0))
                if number % 2:
                    on.service.kill()
                    on.service.start()
                    ready = await on.service.until_ready()
                    await asyncio.sleep(1)
                    slowest = max(slowest, history.first_after(ready))
                else:
                    with suppress(ProcessLookupError):
                        os.kill(random.choice(on.service.workers()), signal.SIGKILL)
            await asyncio.sleep(0.5)
        await judge(on, history, report)
    report.at_most("seconds from ready to the first acknowledgement", slowest, 2)
    report.at_least("faults", number + 1, 3)
