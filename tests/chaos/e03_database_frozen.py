"""Database frozen: PostgreSQL is stopped for 10 s at 100 clients.

Pass: every answer within 4 s, all of them 503; liveness within 50 ms; not ready within 3 s; 200 within 1 s afterwards.
"""

import asyncio
import time

from tests.chaos.load import SLOWLY, Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = True


async def run(report: Report, *, short: bool) -> None:
    seconds = 4 if short else 10
    async with stage() as on:
        async with Writers(on, clients=20 if short else 100, pause=SLOWLY if short else 0) as history:
            await asyncio.sleep(1)
            on.postgres.freeze()
            frozen = time.monotonic()
            before = history.statuses.copy()
            liveness, not_ready = [], float("inf")
            while time.monotonic() < frozen + seconds:
                liveness.append((await on.status("/health/live"))[1])
                if not_ready == float("inf") and (await on.status("/health/ready"))[0] == 503:
                    not_ready = time.monotonic() - frozen
                await asyncio.sleep(0.1)
            meanwhile = history.statuses - before
            on.postgres.thaw()
            thawed = time.monotonic()
            await asyncio.sleep(2)
            report.at_most("seconds to the first acknowledgement afterwards", history.first_after(thawed), 1)
        await judge(on, history, report)
        report.at_most("slowest answer in seconds", history.slowest, 4)
        liveness.sort()
        report.at_most("liveness in seconds, 95th percentile", liveness[int(len(liveness) * 0.95)], 0.05)
        report.at_most("seconds until not ready", not_ready, 3)
        report.equals("answers without a status meanwhile", meanwhile[0], 0)
        report.equals("restarts", on.service.process is not None and on.service.process.poll(), None)
