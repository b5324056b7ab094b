"""Ctrl-C at any moment, and readers that go away: an end without a traceback, with the status a shell knows."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from tests.commands.test_users import SETTINGS, run
from todo_service.config.settings import ROOT

PATIENCE = 30
STARTS = [["-m", "todo_service"], ["-m", "todo_service.commands", "users", "list"]]


async def interrupted(start: list[str], module: str, database_url: str) -> tuple[int | None, list[str]]:
    """The status, and what is said, of a Python that gets a Ctrl-C once it has imported a module."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "importtime", *start, cwd=ROOT,
        env=os.environ | SETTINGS | {"DATABASE_URL": database_url, "SERVER_PORT": "0"},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr
    async with asyncio.timeout(PATIENCE):
        while f"| {module}" not in (line := (await process.stderr.readline()).decode()).replace("  ", ""):
            assert line, "it has ended"
        process.send_signal(signal.SIGINT)
        said = (await process.communicate())[1].decode()
    return process.returncode, [line for line in said.splitlines() if not line.startswith("import time:")]


@pytest.mark.parametrize("module", ["asyncpg", "pydantic", "structlog"])
@pytest.mark.parametrize("start", STARTS, ids=" ".join)
async def test_ctrl_c_while_modules_are_imported(start: list[str], module: str, database_url: str) -> None:
    for _ in range(3):  # Python itself drops what is raised in the callbacks of its import locks
        ended = await interrupted(start, module, database_url)
        if ended == (128 + signal.SIGINT, []):
            break
    assert ended == (128 + signal.SIGINT, [])


async def test_ctrl_c_while_a_password_is_asked_for(database_url: str) -> None:
    master, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        "setsid", "--ctty", "--wait", str(ROOT / "bin/create-admin"), "ada@example.com",
        env=os.environ | SETTINGS | {"DATABASE_URL": database_url}, stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    async with asyncio.timeout(PATIENCE):
        shown = await asyncio.to_thread(os.read, master, 100)
        os.write(master, b"\x03")
        assert await process.wait() == 128 + signal.SIGINT
    os.close(master)
    assert shown == b"Password: "


async def test_without_a_terminal_a_file_is_asked_for(database_url: str) -> None:
    done = await run("create-admin", "ada@example.com", DATABASE_URL=database_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "No password: there is no terminal to ask on; use --password-file\n"


@pytest.mark.parametrize("command", [["users", "list"], ["migrate", "status", "--json"], ["backup", "-"]], ids=" ".join)
@pytest.mark.usefixtures("ada")
async def test_nobody_reads_the_output(command: list[str], database_url: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "bin" / command[0]), *command[1:], env=buffered | SETTINGS | {"DATABASE_URL": database_url},
        stdout=writer, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writer)
    said = (await asyncio.wait_for(process.communicate(), PATIENCE))[1]
    assert process.returncode == 128 + signal.SIGPIPE
    assert b"Traceback" not in said
    assert b"pipe" not in said.lower()


async def test_what_is_no_text_is_2() -> None:
    done = await run("users", "list", "--q", os.fsdecode(b"\xff"))
    assert (done.returncode, done.stderr) == (2, "bin/users list: argument --q: is not UTF-8; see --help.\n")


@pytest.mark.parametrize(("end", "status", "said"), [(">&-", 0, ""), (">/dev/full", 1, "No space left on device.\n")])
async def test_an_output_that_cannot_be_written(end: str, status: int, said: str, database_url: str) -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = await asyncio.create_subprocess_shell(
        f"{ROOT}/bin/migrate status {end}",
        env=buffered | SETTINGS | {"DATABASE_URL": database_url},
        stderr=subprocess.PIPE,
    )
    told = (await asyncio.wait_for(process.communicate(), PATIENCE))[1].decode()
    assert process.returncode == status
    assert told.endswith(said)
    assert len(told.splitlines()) == (1 if said else 0)


async def test_a_command_that_is_none_is_2() -> None:
    for names in ([], ["command"], ["nothing"]):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "todo_service.commands", *names, cwd=ROOT, stderr=subprocess.PIPE
        )
        told = (await asyncio.wait_for(process.communicate(), PATIENCE))[1].decode()
        assert (process.returncode, len(told.splitlines())) == (2, 1)
