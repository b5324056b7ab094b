"""Revoked tokens: workers are replaced again and again while a client writes with a token that ended long ago.

Pass: not one of its writes succeeds, also while the table of users is locked.
"""

import asyncio
import os
import signal
from collections import Counter

import asyncpg
from aiohttp import ClientError

from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = True


async def run(report: Report, *, short: bool) -> None:
    async with stage() as on:
        user_id, headers = await on.new_user()
        url = f"{on.service.base}/api/v1/auth/logout"
        async with on.session.post(url, json={"everywhere": True}, headers=headers) as answer:
            assert answer.status == 204
        await asyncio.sleep(5)
        statuses: Counter[int] = Counter()
        stop = asyncio.Event()

        async def write() -> None:
            while not stop.is_set():
                try:
                    tasks = f"{on.service.base}/api/v1/tasks"
                    async with on.session.post(tasks, json={"title": "stolen"}, headers=headers) as answer:
                        statuses[answer.status] += 1
                except (ClientError, OSError):
                    await asyncio.sleep(0.01)

        writers = [asyncio.create_task(write()) for _ in range(8)]
        for _ in range(1 if short else 4):
            os.kill(on.service.pid, signal.SIGHUP)
            await asyncio.sleep(3)
        db = await asyncpg.connect(on.postgres.url)
        async with db.transaction():
            await db.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            os.kill(on.service.workers()[0], signal.SIGKILL)
            await asyncio.sleep(4)
        await db.close()
        await asyncio.sleep(1)
        stop.set()
        await asyncio.gather(*writers)
        found = await on.rows("SELECT count(*) FROM tasks WHERE user_id = $1", user_id)
        report.equals("writes with it", found[0][0], 0)
        report.equals(
            "other answers than 401 and 503", {status for status in statuses if status not in {401, 503}}, set()
        )
        report.at_least("tries", statuses.total(), 20)
