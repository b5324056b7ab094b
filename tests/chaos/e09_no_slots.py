"""No slots: the server takes no further connection.

Pass: 503 for the surplus, never 500; back alone when there is room.
"""

import asyncio
import time

import asyncpg

from tests.chaos.load import Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    async with stage(options=("--max_connections=20",), DATABASE_POOL_MAX="6", DATABASE_POOL_RECYCLE="1") as on:
        taken: list[asyncpg.Connection[asyncpg.Record]] = []
        async with Writers(on, clients=20, pause=0.05) as history:
            await asyncio.sleep(1)
            while True:
                try:
                    taken.append(await asyncpg.connect(on.postgres.url, timeout=2))
                except asyncpg.PostgresError:
                    break
            await asyncio.sleep(3)
            for connection in taken:
                await connection.close()
            freed = time.monotonic()
            await asyncio.sleep(2)
            report.at_most("seconds to the first acknowledgement afterwards", history.first_after(freed), 2)
        report.at_least("slots that others took", len(taken), 1)
        await judge(on, history, report)
