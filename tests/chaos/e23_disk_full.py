"""Disk full: the database's disk has no room left.

Pass: writes are 503 and reads work; the first write succeeds within 2 s after room is made; nothing is lost.
"""

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.chaos.load import Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = False
SIZE = "220m"


async def run(report: Report, *, short: bool) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        report.not_run("no file system can be mounted")
        return
    async with stage(start=False, options=("--wal_level=minimal", "--max_wal_senders=0", "--max_wal_size=64MB")) as on:
        on.postgres.stop()
        cluster = on.postgres.cluster
        moved = cluster.with_name("moved")
        cluster.rename(moved)
        cluster.mkdir(mode=0o700)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(cluster)], check=False
        )
        if mounted.returncode != 0:
            moved.rename(cluster) if not any(cluster.iterdir()) else None
            report.not_run("no file system can be mounted")
            return
        try:
            shutil.copytree(moved, cluster, dirs_exist_ok=True)
            on.postgres.start()
            await on.postgres.until_accepting("todo")
            on.service.start()
            await on.service.until_ready()
            _, reader = await on.new_user()
            async with Writers(on, clients=10) as history:
                await asyncio.sleep(1)
                ballast = _fill(cluster)
                await asyncio.sleep(4)
                full = history.statuses.copy()
                await asyncio.sleep(1)
                refused = (history.statuses - full)[503]
                reads = [(await on.status("/api/v1/tasks", reader))[0] for _ in range(10)]
                ballast.unlink()
                freed = time.monotonic()
                await asyncio.sleep(3)
            report.at_least("writes refused with 503 while full", refused, 1)
            report.equals("reads while full", set(reads), {200})
            report.at_most("seconds to the first write afterwards", history.first_after(freed), 2)
            await judge(on, history, report)
        finally:
            on.service.kill()
            on.postgres.stop()
            subprocess.run(["umount", "-l", str(cluster)], check=False)


def _fill(folder: Path) -> Path:
    """Leave no room on the file system of a folder."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 512):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return path
