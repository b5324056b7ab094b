"""Clocks: the service's wall clock is an hour ahead of the database's, then an hour behind.

Pass: a token of another hour is refused, one of its own works; limits and time limits do not notice; the moments of
tasks are the database's.
"""

import time
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = False
LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


async def run(report: Report, *, short: bool) -> None:
    if not LIBRARY.exists():
        report.not_run("libfaketime is not installed")
        return
    async with stage(workers=1, RATE_LIMIT_ENABLED="true", RATE_LIMIT_READ="10") as on:
        _, usual = await on.new_user()
        for shift in ("+3600s", "-3600s"):
            on.service.end()
            on.service.environment |= {
                "LD_PRELOAD": str(LIBRARY),
                "FAKETIME": shift,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
            on.service.start()
            await on.service.until_ready()
            report.equals(f"{shift}: a token of the usual hour", (await on.status("/api/v1/tasks", usual))[0], 401)
            _, own = await on.new_user()
            began = time.monotonic()
            statuses = [(await on.status("/api/v1/tasks", own))[0] for _ in range(12)]
            report.equals(f"{shift}: reads admitted of a limit of 10", statuses.count(200), 10)
            report.at_most(f"{shift}: seconds for them", time.monotonic() - began, 5)
            async with on.session.post(f"{on.service.base}/api/v1/tasks", json={"title": "t"}, headers=own) as answer:
                created = datetime.fromisoformat((await answer.json())["created_at"])
            apart = abs((datetime.now(UTC) - created).total_seconds())
            report.at_most(f"{shift}: seconds between a task's moment and the right time", apart, 30)
