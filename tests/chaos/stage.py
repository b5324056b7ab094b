"""The stage of an experiment: a durable PostgreSQL and the service, as processes that can be killed and frozen.

Every experiment has its own, so that none sees the faults of another.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from tests.client import PASSWORD
from tests.process import NOT_MEASURED
from tests.proxy import free_port
from todo_service.config.settings import ROOT
from todo_service.postgres import embedded, migrations
from todo_service.postgres.embedded_binaries import ENVIRONMENT, Programs

SECRET_KEY = "for-experiments-only-0123456789-abcdef"
START_SECONDS = 30
QUICKLY = {"BCRYPT_ROUNDS": "4", "RATE_LIMIT_ENABLED": "false", "LOG_LEVEL": "WARNING", "DRAIN_SECONDS": "0"}


class Postgres:
    """A server in a folder, on a port that stays the same over its lives."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.cluster = folder.absolute() / "cluster"
        self.programs = Programs.for_data(self.cluster)
        self.port = free_port()
        self.log = folder / "postgres.log"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make its data folder, with the role `todo`."""
        embedded._create(self.cluster, self.programs, durable=True)

    @property
    def url(self) -> str:
        password = (self.cluster / "password").read_text()
        return f"postgresql://todo:{password}@127.0.0.1:{self.port}/todo"

    def start(self) -> None:
        """Start the server, and return at once."""
        options = ["--listen_addresses=127.0.0.1", f"--port={self.port}", "--unix_socket_directories=", *self._options]
        command = self.programs.command("postgres", *options, data=self.cluster)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.cluster, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    async def until_accepting(self, database: str = "postgres") -> float:
        """Wait until it accepts connections; the moment at which it did."""
        url = self.url.rpartition("/")[0] + f"/{database}"
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                await (await asyncpg.connect(url, timeout=2)).close()
                return time.monotonic()
            except (OSError, asyncpg.PostgresError, TimeoutError):
                assert time.monotonic() < deadline, self.log.read_text()[-2000:]
                await asyncio.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send a signal to every process of the server."""
        for pid in embedded._at_work(self.cluster):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the postmaster; its children notice."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        deadline = time.monotonic() + 10
        while embedded._at_work(self.cluster) and time.monotonic() < deadline:
            time.sleep(0.01)
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it for good."""
        if self._process is not None:
            self.thaw()
            self._process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
            self._process.kill()
            self._process.wait()


class Service:
    """The service as a process group of its own. `environment` can be changed before the next start."""

    def __init__(self, folder: Path, url: str, *, workers: int = 2, **environment: str) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"service-{self.port}.log"
        self.environment = {
            "DATABASE_URL": url, "SECRET_KEY": SECRET_KEY, "SERVER_PORT": str(self.port),
            "WEB_CONCURRENCY": str(workers), **QUICKLY, **NOT_MEASURED, **environment,
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return at once."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "todo_service"], cwd=ROOT, env=os.environ | self.environment, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[int]:
        """The processes that serve: the children of the parent, or the only one."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children] or [self.pid]

    def kill(self) -> None:
        """Kill the whole process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def end(self, seconds: float = 30) -> int:
        """Ask it to end; its exit status, or -9 if it had to be killed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    async def until_ready(self, path: str = "/health/ready", seconds: float = START_SECONDS) -> float:
        """Wait until it is ready; the moment at which it was."""
        deadline = time.monotonic() + seconds
        async with ClientSession(timeout=ClientTimeout(total=5)) as session:
            while True:
                with suppress(ClientError, TimeoutError, OSError):
                    async with session.get(self.base + path) as answer:
                        if answer.status == 200:
                            return time.monotonic()
                assert time.monotonic() < deadline, self.log.read_text()[-2000:]
                await asyncio.sleep(0.02)


class Stage:
    """What an experiment acts on."""

    def __init__(self, folder: Path, postgres: Postgres, service: Service, session: ClientSession) -> None:
        self.folder = folder
        self.postgres = postgres
        self.service = service
        self.session = session

    async def rows(self, sql: str, *arguments: object) -> list[Any]:
        """Ask the database itself, on a connection of its own."""
        db = await asyncpg.connect(self.postgres.url)
        try:
            return list(await db.fetch(sql, *arguments))
        finally:
            await db.close()

    async def new_user(self) -> tuple[str, dict[str, str]]:
        """Somebody with an account: the id, and the headers of their requests."""
        body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
        async with self.session.post(f"{self.service.base}/api/auth/signup", json=body) as answer:
            assert answer.status == 201, await answer.text()
            account = await answer.json()
        return account["user_id"], {"Authorization": f"Bearer {account['access_token']}"}

    async def status(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, float]:
        """The status of a GET, 0 without an answer, and its seconds."""
        began = time.monotonic()
        try:
            async with self.session.get(self.service.base + path, headers=headers) as answer:
                await answer.read()
                return answer.status, time.monotonic() - began
        except (ClientError, TimeoutError, OSError):
            return 0, time.monotonic() - began


@asynccontextmanager
async def stage(
    *, workers: int = 2, through: Callable[[str], str] = str, start: bool = True, options: tuple[str, ...] = (),
    **environment: str,
) -> AsyncIterator[Stage]:  # fmt: skip
    """A migrated database and the service on it, ready.

    Args:
        through: Turns the URL of the database into the one that the service is given.
        start: Whether to start the service.
        options: Further options of the server.
    """
    with tempfile.TemporaryDirectory(prefix="todo-chaos-") as name:
        folder = Path(name)
        postgres = Postgres(folder, *options)
        postgres.create()
        postgres.start()
        service: Service | None = None
        try:
            await postgres.until_accepting()
            await _prepare(postgres)
            service = Service(folder, through(postgres.url), workers=workers, **environment)
            if start:
                service.start()
                await service.until_ready()
            connector = TCPConnector(limit=0)
            async with ClientSession(connector=connector, timeout=ClientTimeout(total=15)) as session:
                yield Stage(folder, postgres, service, session)
        finally:
            if service is not None and service.process is not None:
                service.kill()
            postgres.stop()


async def _prepare(postgres: Postgres) -> None:
    db = await asyncpg.connect(postgres.url.rpartition("/")[0] + "/postgres")
    await db.execute("CREATE DATABASE todo")
    await db.close()
    db = await asyncpg.connect(postgres.url)
    await migrations.up(db, migrations.find())
    await db.close()
