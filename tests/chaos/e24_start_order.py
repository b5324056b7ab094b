"""Start order: the service before its database, and with settings that are wrong.

Pass: it waits unready and is ready within 2 s of the database; wrong settings end it within 2 s with no secret shown.
"""

import asyncio
import os
import sys
import time

from tests.chaos.report import Report
from tests.chaos.stage import SECRET_KEY, stage
from todo_service.config.settings import ROOT

SHORT = True
WRONG = (
    {"SECRET_KEY": "canary"},
    {"DATABASE_URL": "nonsense://canary"},
    {"SERVER_PORT": "canary"},
    {"BCRYPT_ROUNDS": "2"},
)


async def run(report: Report, *, short: bool) -> None:
    async with stage(start=False) as on:
        on.postgres.stop()
        on.service.start()
        await on.service.until_ready("/health/live")
        report.equals("readiness before the database", (await on.status("/health/ready"))[0], 503)
        on.postgres.start()
        accepting = await on.postgres.until_accepting("todo")
        report.at_most("seconds until ready", await on.service.until_ready() - accepting, 2)
        slowest, statuses, shown = 0.0, set(), 0
        for wrong in WRONG:
            environment = os.environ | {"SECRET_KEY": SECRET_KEY, "DATABASE_URL": on.postgres.url} | wrong
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "todo_service", cwd=ROOT, env=environment,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            output, _ = await process.communicate()
            slowest = max(slowest, time.monotonic() - began)
            statuses.add(process.returncode)
            shown += b"canary" in output
        report.equals("exit statuses of wrong settings", statuses, {2})
        report.at_most("seconds until they are told", slowest, 15 if short else 3)
        report.equals("secrets shown", shown, 0)
