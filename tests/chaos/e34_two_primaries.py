"""Two primaries: the standby is promoted while the old primary goes on, as with a failover that has no watchdog.

Pass: no acknowledged write is lost; the first write on the new primary within 10 s, without a restart.
"""

import asyncio
import time

from tests.chaos.e28_failover import with_standby
from tests.chaos.load import Writers, judge
from tests.chaos.report import Report

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    async with with_standby() as (on, standby):
        async with Writers(on, clients=20) as history:
            await asyncio.sleep(2)
            standby.programs.run("pg_ctl", "promote", data=standby.cluster)
            promoted = time.monotonic()
            await asyncio.sleep(12)
        on.postgres = standby
        await judge(on, history, report)
        # What is answered in the first half second may have been under way before.
        report.at_most("seconds from the promotion to the first write", history.first_after(promoted + 0.5) + 0.5, 10)
        report.at_least("writes of the last two seconds", sum(one > promoted + 10 for one in history.moments), 10)
