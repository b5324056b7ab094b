"""Pooler: PgBouncer in transaction mode with a pool of 5, and 50 clients.

Pass: nothing but success and 503; nothing lost; no statement is unknown to a connection.
"""

import asyncio
import shutil
import subprocess
from urllib.parse import urlsplit

from tests.chaos.load import Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import stage
from tests.proxy import free_port

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not shutil.which(program):
        report.not_run("PgBouncer is not installed")
        return
    async with stage(start=False) as on:
        parts, port = urlsplit(on.postgres.url), free_port()
        users, configuration = on.folder / "users.txt", on.folder / "pgbouncer.ini"
        users.write_text(f'"{parts.username}" "{parts.password}"\n')
        configuration.write_text(
            f"[databases]\ntodo = host=127.0.0.1 port={parts.port} dbname=todo\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nauth_type = plain\nauth_file = {users}\npool_mode = transaction\n"
            f"default_pool_size = 5\nmax_client_conn = 200\n"
            f"logfile = {on.folder}/pgbouncer.log\npidfile = {on.folder}/p.pid\n"
        )
        for path in (on.folder, users, configuration):
            path.chmod(0o777 if path.is_dir() else 0o644)
        command = [program, "-u", "nobody", str(configuration)]
        pooler = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await asyncio.sleep(1)
            pooled = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}/todo?pgbouncer=true"
            on.service.environment["DATABASE_URL"] = pooled
            on.service.start()
            await on.service.until_ready()
            async with Writers(on, clients=50) as history:
                await asyncio.sleep(8)
            await judge(on, history, report)
            log = on.service.log.read_text()
            report.equals("defects in the log", log.count('"defect"'), 0)
        finally:
            pooler.kill()  # from 1.23 on it would wait for its clients
            pooler.wait()
