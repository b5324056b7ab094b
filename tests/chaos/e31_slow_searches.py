"""Slow searches: accounts with very long tasks search all the time.

Pass: every request of others is answered, at most ten times as slowly as before, and within half a second.
"""

import asyncio
import time

from tests.chaos.report import Report
from tests.chaos.stage import stage
from tests.conftest import fill

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    async with stage(RATE_LIMIT_ENABLED="true", RATE_LIMIT_READ="100000") as on:
        _, headers = await on.new_user()
        slow = [await on.new_user() for _ in range(4)]
        for user_id, _ in slow:
            await fill(on.postgres.url, user_id, count=5_000, description="\U0001f600" * 4000)
        before = sorted([(await on.status("/api/v1/tasks", headers))[1] for _ in range(50)])[25]
        stop = asyncio.Event()

        async def search(whose: dict[str, str]) -> None:
            while not stop.is_set():
                await on.status("/api/v1/tasks?q=nothing%20like%20it", whose)

        searches = [asyncio.create_task(search(whose)) for _, whose in slow for _ in range(3)]
        await asyncio.sleep(4)
        answers, began = [], time.monotonic()
        while time.monotonic() < began + 10:
            answers.append(await on.status("/api/v1/tasks", headers))
            await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*searches)
        seconds = sorted(one for _, one in answers)
        report.equals("answers to others", {status for status, _ in answers}, {200})
        report.at_most("median in seconds", seconds[len(seconds) // 2], max(0.05, 10 * before))
        report.at_most("95th percentile in seconds", seconds[int(len(seconds) * 0.95)], 0.5)
