"""Redis: frozen, killed and started again beneath the rate limits.

Pass: at most 60 ms more once, then none; limits hold in memory; they are shared again within 10 s.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from tests.chaos.report import Report
from tests.chaos.stage import stage
from tests.valkey import Valkey

SHORT = True
LIMIT = 40


async def run(report: Report, *, short: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        redis = Valkey(Path(folder))
        redis.start()
        try:
            async with stage(REDIS_URL=redis.url, RATE_LIMIT_ENABLED="true", RATE_LIMIT_READ=str(LIMIT)) as on:
                people = [(await on.new_user())[1] for _ in range(4)]

                async def admitted(headers: dict[str, str]) -> tuple[int, float]:
                    answers = [await on.status("/api/v1/tasks", headers) for _ in range(LIMIT + 20)]
                    assert {status for status, _ in answers} <= {200, 429}
                    return sum(status == 200 for status, _ in answers), max(seconds for _, seconds in answers)

                usual, slowest = await admitted(people[0])
                report.equals("admitted of a shared limit", usual, LIMIT)
                redis.freeze()
                frozen, with_frozen = await admitted(people[1])
                report.at_most("admitted while frozen, by two workers", frozen, 2 * LIMIT)
                report.at_most("milliseconds more while frozen", (with_frozen - slowest) * 1000, 200 if short else 60)
                redis.thaw()
                redis.kill()
                killed, _ = await admitted(people[2])
                report.at_most("admitted while it is away, by two workers", killed, 2 * LIMIT)
                redis.start()
                began = time.monotonic()
                await asyncio.sleep(5)
                again, _ = await admitted(people[3])
                report.equals("admitted when it is back", again, LIMIT)
                report.at_most("seconds until it is shared again", time.monotonic() - began, 10)
        finally:
            redis.kill()
