"""Failover: a primary with a synchronous standby is killed, and the standby promoted.

Pass: no acknowledged write is lost; writes again within 2 s of the promotion, without a restart.
"""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from tests.chaos.load import Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import Postgres, Stage, stage

SHORT = False
PRIMARY = ("--wal_level=replica", "--max_wal_senders=5", "--synchronous_standby_names=standby", "--hot_standby=on")


async def run(report: Report, *, short: bool) -> None:
    async with with_standby() as (on, standby):
        async with Writers(on, clients=20) as history:
            await asyncio.sleep(2)
            on.postgres.kill()
            await asyncio.sleep(1)
            standby.programs.run("pg_ctl", "promote", data=standby.cluster)
            promoted = time.monotonic()
            await asyncio.sleep(4)
        on.postgres = standby
        await judge(on, history, report)
        report.at_most("seconds from the promotion to the first write", history.first_after(promoted), 2)


@asynccontextmanager
async def with_standby() -> AsyncIterator[tuple[Stage, Postgres]]:
    """The service on a primary whose commits wait for the standby, which is the second host of its `DATABASE_URL`."""
    async with stage(start=False, options=PRIMARY[:2]) as on:
        standby = Postgres(on.folder / "standby", *PRIMARY[:2])
        standby.cluster.parent.mkdir()
        parts = urlsplit(on.postgres.url)
        rights = "ALTER ROLE todo REPLICATION;\nGRANT pg_monitor TO todo"
        on.postgres.stop()
        on.postgres.programs.run(
            "postgres", "--single", "--exit_on_error=on", "postgres", data=on.postgres.cluster, text=f"{rights};\n"
        )
        with (on.postgres.cluster / "pg_hba.conf").open("a") as access:
            access.write("host replication todo 127.0.0.1/32 scram-sha-256\n")
        on.postgres.start()
        await on.postgres.until_accepting("todo")
        where = f"host=127.0.0.1 port={parts.port} user=todo password={parts.password} application_name=standby"
        standby.cluster.mkdir(mode=0o700)
        standby.programs.own(standby.cluster)
        command = standby.programs.command(
            "pg_basebackup", "--no-password", "--write-recovery-conf", f"--dbname={where}", data=standby.cluster
        )
        subprocess.run(command, cwd=standby.cluster, check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
        (standby.cluster / "password").write_text(str(parts.password))
        standby.start()
        primary = on.postgres
        try:
            await _until_replicating(primary, standby)
            primary.stop()
            primary._options = PRIMARY
            primary.start()
            await primary.until_accepting("todo")
            await _until_replicating(primary, standby)  # until then no write is acknowledged
            both = f"127.0.0.1:{parts.port},127.0.0.1:{standby.port}"
            url = f"postgresql://{parts.username}:{parts.password}@{both}/todo?target_session_attrs=read-write"
            on.service.environment["DATABASE_URL"] = url
            on.service.start()
            await on.service.until_ready()
            yield on, standby
        finally:
            primary.stop()
            standby.stop()


async def _until_replicating(primary: Postgres, standby: Postgres) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        db = await asyncpg.connect(primary.url)
        count = await db.fetchval("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
        await db.close()
        if count:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the standby does not follow: {standby.log.read_text()[-500:]}")
