"""The service as a process of its own, as people run it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession

from tests.client import Api
from tests.conftest import SECRET_KEY
from todo_service.config.settings import ROOT
from todo_service.server import runner

START_SECONDS = 20
NOT_MEASURED = {"COVERAGE_PROCESS_CONFIG": ""}  # for processes under load, which branch coverage would slow down


@asynccontextmanager
async def served(
    *command: str | Path,
    output: Any = None,
    stdin: Any = None,
    **environment: str,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Api]]:
    """The service on a port of its own, live. What it writes to standard output can be read. With an `output` file,
    that and what it writes to standard error go there.
    """
    with runner.bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    settings = {"SECRET_KEY": SECRET_KEY, "SERVER_PORT": str(port), "BCRYPT_ROUNDS": "4"}
    settings["RATE_LIMIT_ENABLED"] = "false"
    process = await asyncio.create_subprocess_exec(
        *(command or (sys.executable, "-m", "todo_service")), env=os.environ | settings | environment, cwd=ROOT,
        stdin=stdin, stdout=output or asyncio.subprocess.PIPE, stderr=output or asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with ClientSession() as session:
            api = Api(session, f"http://127.0.0.1:{port}")
            await until_live(api)
            yield process, api
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until_live(api: Api) -> None:
    """Wait for the first answer."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                assert (await api.get("/health/live")).status == 200
                return
            except ClientError:
                await asyncio.sleep(0.05)
