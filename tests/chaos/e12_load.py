"""Load: 100 users with pauses, four of five requests read.

Pass: the 95th percentile below 20 ms, no error.
"""

import asyncio
import random
import time

from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = True


async def run(report: Report, *, short: bool) -> None:
    seconds, users = (5, 30) if short else (60, 100)
    async with stage() as on:
        people = [(await on.new_user())[1] for _ in range(users)]
        times: list[float] = []
        errors = 0

        async def act(headers: dict[str, str]) -> None:
            nonlocal errors
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                await asyncio.sleep(random.uniform(0.2, 0.8))
                began = time.monotonic()
                if random.random() < 0.8:
                    status, _ = await on.status("/api/v1/tasks?limit=20", headers)
                else:
                    url = f"{on.service.base}/api/v1/tasks"
                    async with on.session.post(url, json={"title": "t"}, headers=headers) as answer:
                        status = answer.status
                times.append(time.monotonic() - began)
                errors += status not in {200, 201}

        await asyncio.gather(*map(act, people))
        times.sort()
        report.equals("errors", errors, 0)
        report.at_least("requests", len(times), seconds * users)
        report.at_most("95th percentile in seconds", times[int(len(times) * 0.95)], 0.1 if short else 0.02)
