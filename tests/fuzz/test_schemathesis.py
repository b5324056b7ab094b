"""The running service is asked by schemathesis what its description promises: every operation, every check.

What it found is tested beside the subject; how it asks is in `schemathesis.toml`, what it cannot know in `hooks.py`.
"""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ENCRYPTION_KEY, template_name, temporary_database
from tests.openapi.described import ALL_ROUTES
from tests.process import NOT_MEASURED, served
from tests.provider import ai_provider, always
from tests.routes.test_sessions import only_administrators, sign_in
from todo_service.config.settings import ROOT

CONFIG = Path(__file__).with_name("schemathesis.toml")
PROGRAM = Path(sys.executable).with_name("schemathesis")
SERVICE_TOKEN = "service-token-0123456789-abcdefghijkl"
SECONDS = 5 * 60


@pytest.mark.xdist_group("schemathesis")
async def test_no_check_of_any_operation_fails(postgres_url: str, tmp_path: Path) -> None:
    async with (
        temporary_database(postgres_url, template=template_name()) as database_url,
        ai_provider() as provider,
        served(
            DATABASE_URL=database_url,
            SERVICE_AUTH_TOKEN=SERVICE_TOKEN,
            ENCRYPTION_KEY=ENCRYPTION_KEY,
            GEMINI_BASE_URL=provider.url,
            output=subprocess.DEVNULL,
            **NOT_MEASURED,
        ) as (_, api),
    ):
        provider.answer = always(200)  # whatever has the form of a key is one
        user, admin = await api.new_user(), await api.new_user()
        async with only_administrators(database_url, admin):
            file = tmp_path / "openapi.json"  # read from the service, its own address would not be asked
            file.write_bytes((await api.get("/openapi.json")).raw)
            status, said = await asked(
                file,
                FUZZ_URL=api.base,
                FUZZ_TOKEN=user.token,
                FUZZ_USER_ID=user.id,
                FUZZ_ADMIN_TOKEN=(await sign_in(api, admin))["access_token"],
            )
    assert status == 0, said[-20_000:]
    assert f"Tested: {len(ALL_ROUTES) - 1}" in said, said[-20_000:]  # without the stream of events
    covered = re.search(r"API Links: +(\d+) covered / \d+ selected", said)
    assert covered is not None
    assert int(covered[1]) >= 10, said


async def asked(description: Path, **environment: str) -> tuple[int | None, str]:
    """Exit status and words of schemathesis, after at most five minutes."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "--config-file", CONFIG, "run", description, "--url", environment["FUZZ_URL"], cwd=ROOT,
        env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        said = (await asyncio.wait_for(process.communicate(), SECONDS))[0].decode(errors="replace")
        return process.returncode, said
    finally:
        if process.returncode is None:
            process.kill()
