"""What docs/deploy.md says to type to bring a backup back with compose, typed: also one of the release before."""

import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.commands.test_restore import EVERYTHING, with_tasks
from tests.commands.test_users import run as command
from tests.conftest import run_sql, template_name, temporary_database
from tests.deploy.programs import run
from tests.routes.test_sessions import rows
from todo_service.config import database_url
from todo_service.config.settings import ROOT
from todo_service.postgres import client_binaries

PAGE = (ROOT / "docs/deploy.md").read_text()
RESTORE = re.findall(r"^docker compose exec -T database (.+)$", PAGE, re.MULTILINE)
(DUMP,) = re.findall(r"exec -T database (pg_dump .+?) >", PAGE)
NEIGHBOURS = ("restored", "replaced")


@pytest_asyncio.fixture
async def url(postgres_url: str) -> AsyncIterator[str]:
    async with temporary_database(postgres_url, template=template_name()) as url:
        await with_tasks(url, "ada", 2)
        yield url
        for neighbour in NEIGHBOURS:
            await run_sql(postgres_url, f"DROP DATABASE IF EXISTS {database_url.parse(url).database}_{neighbour}")


def typed(line: str, url: str, folder: Path) -> None:
    """The line in the database's container, for the database and the role of a test."""
    where = database_url.parse(url)
    line = line.replace("--username=todo", "")
    line = re.sub(rf"\b({'|'.join(NEIGHBOURS)})\b", rf"{where.database}_\1", line)
    line = re.sub(r"\btodo\b(?![.-])", str(where.database), line)
    programs = client_binaries.find("pg_restore").path.parent
    line = f"PATH={shlex.quote(str(programs))}:$PATH; {line}"
    done = run("sh", "-c", line, cwd=folder, **client_binaries.environment(where))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("newer", [0, 1])
async def test_a_backup_comes_back(url: str, tmp_path: Path, newer: int) -> None:
    """`newer` migrations came after the backup."""
    (tmp_path / "backups").mkdir()
    (file,) = re.findall(r"<(backups/\S+)", "\n".join(RESTORE))
    if newer:
        assert (await command("migrate", "down", str(newer), DATABASE_URL=url)).returncode == 0
    typed(f"{DUMP} >{file}", url, tmp_path)
    assert (await command("migrate", "up", DATABASE_URL=url)).returncode == 0
    before = await titles(url)
    await run_sql(url, "DELETE FROM tasks")
    for line in RESTORE:
        typed(line, url, tmp_path)
    assert (await command("migrate", "up", DATABASE_URL=url)).returncode == 0
    assert (await command("new-epoch", "--yes", DATABASE_URL=url)).returncode == 0
    assert await titles(url) == before


async def titles(url: str) -> list[str]:
    return [row["title"] for row in await rows(url, EVERYTHING)]
