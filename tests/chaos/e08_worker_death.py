"""Worker death: a worker is killed under load.

Pass: a new one within 1 s; nothing lost; the metrics count every answer that was given.
"""

import asyncio
import os
import re
import signal
import time

from tests.chaos.load import Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    slowest = 0.0
    async with stage(workers=3) as on:
        async with Writers(on, clients=30, pause=0.1) as history:
            for _ in range(5):
                await asyncio.sleep(2)  # five deaths in five seconds would be answered with a pause
                victim = on.service.workers()[0]
                os.kill(victim, signal.SIGKILL)
                began = time.monotonic()
                while len([pid for pid in on.service.workers() if pid != victim]) < 3:
                    await asyncio.sleep(0.01)
                slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(1)
        await judge(on, history, report)
        report.at_most("seconds to a new worker", slowest, 1)
        report.at_most("requests without an answer", history.statuses[0], 5 * 30)
        async with on.session.get(f"{on.service.base}/metrics") as answer:
            text = await answer.text()
        counted = sum(
            float(value)
            for value in re.findall(r'http_requests_total\{[^}]*method="POST"[^}]*status="201"[^}]*\} (\S+)', text)
        )
        answered = history.statuses[201] + history.statuses[200]
        report.at_least("answers counted of those given", counted, answered)
        deaths = re.findall(r"^todo_worker_deaths_total(?:\{[^}]*\})? (\S+)", text, re.MULTILINE)
        report.equals("deaths counted", sum(map(float, deaths)), 5.0)
