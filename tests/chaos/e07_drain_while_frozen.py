"""Drain while frozen: SIGTERM while PostgreSQL answers nothing.

Pass: the service has ended within 10 s.
"""

import asyncio
import time

from tests.chaos.load import Writers
from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    async with stage() as on, Writers(on, clients=20):
        await asyncio.sleep(1)
        on.postgres.freeze()
        await asyncio.sleep(0.5)
        began = time.monotonic()
        status = await asyncio.to_thread(on.service.end)
        report.at_most("seconds to the end", time.monotonic() - began, 10)
        report.at_most("exit status", abs(status), 1)
        on.postgres.thaw()
