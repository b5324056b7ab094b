"""Migrators: several at once, and one killed half-way.

Pass: each migration is applied once; all end with 0; a run afterwards completes.
"""

import asyncio
import os
import signal
import sys

from tests.chaos.report import Report
from tests.chaos.stage import SECRET_KEY, stage
from todo_service.config.settings import ROOT
from todo_service.postgres import migrations

SHORT = True


async def run(report: Report, *, short: bool) -> None:
    async with stage(start=False) as on:
        for count in (2, 4 if short else 10):
            await on.rows("DROP SCHEMA public CASCADE")
            await on.rows("CREATE SCHEMA public")
            environment = os.environ | {"DATABASE_URL": on.postgres.url, "SECRET_KEY": SECRET_KEY}
            processes = [
                await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "todo_service.commands", "migrate", "up", cwd=ROOT, env=environment,
                    stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
                )
                for _ in range(count)
            ]  # fmt: skip
            await asyncio.sleep(0.4)
            processes[0].send_signal(signal.SIGKILL)
            statuses = [await process.wait() for process in processes[1:]]
            report.equals(f"exit statuses of {count - 1} beside a killed one", set(statuses), {0})
            applied = [row[0] for row in await on.rows("SELECT number FROM schema_migrations ORDER BY number")]
            known = [migration.number for migration in migrations.find()]
            report.equals("each migration applied once", "yes" if applied == known else applied, "yes")
