"""Stalls: the event loop under load, with long lists and imports beside the usual requests.

Pass: the loop is never blocked for 100 ms.
"""

import asyncio
import re
import time

from tests.chaos.report import Report
from tests.chaos.stage import stage
from tests.conftest import fill

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    async with stage() as on:
        people = [await on.new_user() for _ in range(20)]
        for user_id, _ in people[:5]:
            await fill(on.postgres.url, user_id, count=2000, description="x" * 200)
        tasks = {"tasks": [{"title": f"task {number}"} for number in range(2000)]}
        until = time.monotonic() + 15

        async def act(number: int, headers: dict[str, str]) -> None:
            while time.monotonic() < until:
                await on.status("/api/tasks" if number < 5 else "/api/v1/tasks?limit=50", headers)
                if number == 6:
                    async with on.session.post(f"{on.service.base}/api/v1/import", json=tasks, headers=headers):
                        await asyncio.sleep(1)
                await asyncio.sleep(0.05)

        await asyncio.gather(*(act(number, headers) for number, (_, headers) in enumerate(people)))
        stalls = [int(ms) for ms in re.findall(r'"ms":(\d+)[^\n]*event_loop_stalled', on.service.log.read_text())]
        stalls += [int(ms) for ms in re.findall(r'event_loop_stalled[^\n]*"ms":(\d+)', on.service.log.read_text())]
        report.at_most("longest stall over 100 ms, in ms", max(stalls, default=0), 100)
