"""Login storm: 50 sign-ins at once beside 100 task requests a second, with the hashes of production.

Pass: the 95th percentile of task requests below 50 ms; surplus sign-ins are 503 or 429 with Retry-After.
"""

import asyncio
import time
from collections import Counter

from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = True


async def run(report: Report, *, short: bool) -> None:
    async with stage(BCRYPT_ROUNDS="12") as on:
        _, headers = await on.new_user()
        statuses: Counter[int] = Counter()

        async def sign_in(number: int) -> None:
            body = {"email": f"x{number}@example.com", "password": "wrong horse 9"}
            async with on.session.post(f"{on.service.base}/api/v1/auth/login", json=body) as answer:
                statuses[answer.status if answer.status == 401 or "Retry-After" in answer.headers else 599] += 1

        storm = [asyncio.create_task(sign_in(number)) for number in range(20 if short else 50)]
        times: list[float] = []
        until = time.monotonic() + (2 if short else 5)
        while time.monotonic() < until:
            times.append((await on.status("/api/v1/tasks", headers))[1])
            await asyncio.sleep(0.01)
        await asyncio.gather(*storm)
        times.sort()
        report.at_most(
            "95th percentile of task requests in seconds", times[int(len(times) * 0.95)], 0.15 if short else 0.05
        )
        report.equals(
            "sign-ins answered otherwise", sum(n for status, n in statuses.items() if status not in {401, 429, 503}), 0
        )
