"""Backup: bin/backup under load, bin/restore elsewhere.

Pass: every write acknowledged before the backup is there; cursors and tokens of before are refused.
"""

import asyncio
import os

import asyncpg

from tests.chaos.load import TITLE, Writers
from tests.chaos.report import Report
from tests.chaos.stage import SECRET_KEY, Service, stage
from todo_service.config.settings import ROOT

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    async with stage() as on:
        _, headers = await on.new_user()
        async with on.session.get(f"{on.service.base}/api/v1/sync", headers=headers) as answer:
            cursor = (await answer.json())["cursor"]
        async with Writers(on, clients=20) as history:
            await asyncio.sleep(2)
            before = set(history.acknowledged)
            await command("backup", str(on.folder / "todo.dump"), on.postgres.url)
        await on.rows("SELECT 1")
        elsewhere = on.postgres.url.rpartition("/")[0] + "/elsewhere"
        await on.rows("CREATE DATABASE elsewhere")
        await command("restore", str(on.folder / "todo.dump"), elsewhere)
        on.service.end()
        restored = Service(on.folder, elsewhere, workers=1)
        restored.start()
        await restored.until_ready()
        try:
            on.service = restored
            db = await asyncpg.connect(elsewhere)
            found = {row[0] for row in await db.fetch("SELECT title FROM tasks WHERE title LIKE $1", f"{TITLE}%")}
            await db.close()
            report.equals("writes of before the backup that are lost", len(before - found), 0)
            report.equals("a token of before", (await on.status("/api/v1/tasks", headers))[0], 401)
            _, anew = await on.new_user()
            report.equals(
                "a cursor of before", (await on.status(f"/api/v1/sync?cursor={cursor}", anew))[0] in {410, 422}, True
            )
        finally:
            restored.kill()


async def command(name: str, file: str, url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "bin" / name), file, env=os.environ | {"DATABASE_URL": url, "SECRET_KEY": SECRET_KEY},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
