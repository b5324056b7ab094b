"""The servers under test, and the processor time that they and PostgreSQL take."""

import asyncio
import os
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from todo_service.config.settings import ROOT
from todo_service.server import runner

APPS = Path(__file__).parent / "apps"
REQUIREMENTS = APPS / "requirements.txt"
PACKAGES = ROOT / ".venv-peers"
HERTZ = os.sysconf("SC_CLK_TCK")
START_SECONDS = 30


def python_of_peers() -> Path:
    """The Python of an environment with the peers' packages, made at the first call and after a change of the pins."""
    python, stamp = PACKAGES / "bin" / "python", PACKAGES / "pins"
    if not stamp.exists() or stamp.read_bytes() != REQUIREMENTS.read_bytes():
        print(f"Installing the peers' packages in {PACKAGES}", flush=True)
        venv.create(PACKAGES, clear=True, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(REQUIREMENTS)]
        subprocess.run(command, check=True)
        stamp.write_bytes(REQUIREMENTS.read_bytes())
    return python


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int


@asynccontextmanager
async def server(name: str, command: list[str], **environment: str) -> AsyncIterator[Server]:
    """A server on a port of its own, given in `SERVER_PORT` and `PEER_PORT`. Its log goes to a file."""
    with runner.bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    log = Path(os.environ.get("TMPDIR", "/tmp")) / f"bench-{name}-{port}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env=os.environ | {"SERVER_PORT": str(port), "PEER_PORT": str(port)} | environment, cwd=ROOT,
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        await _until_open(port, process, log)
        yield Server(name, port, process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        log.unlink()


async def _until_open(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                return
            except OSError:
                await asyncio.sleep(0.05)
    sys.exit(f"a server did not start:\n{log.read_text()[-2000:]}")


def cpu_seconds(root: int) -> float:
    """Processor seconds of a process, of its descendants, and of those that have ended."""
    processes = dict(_processes())
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in processes.items():
        children.setdefault(parent, []).append(pid)
    total, waiting = processes[root][2], [root]
    while waiting:
        pid = waiting.pop()
        if pid in processes:
            total += processes[pid][1]
            waiting += children.get(pid, [])
    return total / HERTZ


def _processes() -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Each process with its parent, its own ticks and those of its ended children."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            user, system, ended_user, ended_system = map(int, fields[11:15])
            yield int(entry.name), (int(fields[1]), user + system, ended_user + ended_system)
