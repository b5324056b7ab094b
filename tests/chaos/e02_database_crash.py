"""Database crash: the postmaster is killed under load and started again.

Pass: nothing acknowledged is lost, nothing is there twice; in between only 503 with Retry-After; back within 2 s.
"""

import asyncio

from tests.chaos.load import Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    slowest = 0.0
    async with stage() as on:
        async with Writers(on, clients=30) as history:
            for _ in range(1 if short else 4):
                await asyncio.sleep(1.5)
                on.postgres.kill()
                await asyncio.sleep(1)
                on.postgres.start()
                accepting = await on.postgres.until_accepting("todo")
                await asyncio.sleep(3)
                slowest = max(slowest, history.first_after(accepting))
        await judge(on, history, report)
        report.at_most("slowest answer in seconds", history.slowest, 4)
    report.at_most("seconds from accepting to the first acknowledgement", slowest, 2)
