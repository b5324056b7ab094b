"""Migrate under load: a column is added and an index built while clients write.

Pass: no answer but success, and none takes 2 s.
"""

import asyncio

import asyncpg

from tests.chaos.load import Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import stage
from tests.conftest import fill

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    async with stage() as on:
        user_id, _ = await on.new_user()
        await fill(on.postgres.url, user_id, count=100_000)
        async with Writers(on, clients=20) as history:
            await asyncio.sleep(1)
            db = await asyncpg.connect(on.postgres.url)
            await db.execute("SET lock_timeout = '2s'; ALTER TABLE tasks ADD COLUMN of_an_experiment text")
            await db.execute("CREATE INDEX CONCURRENTLY of_an_experiment ON tasks (user_id, title)")
            await db.execute("SET lock_timeout = '2s'; ALTER TABLE tasks DROP COLUMN of_an_experiment")
            await db.close()
            await asyncio.sleep(1)
        await judge(on, history, report)
        report.equals("answers of 503", history.statuses[503], 0)
        report.at_most("slowest answer in seconds", history.slowest, 2)
