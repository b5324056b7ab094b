"""`bin/backup`: one file, whole or not there, for its owner's eyes."""

import asyncio
import fcntl
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.commands.test_users import SETTINGS, run
from tests.conftest import run_sql, template_name, temporary_database
from todo_service.config.settings import ROOT
from todo_service.postgres import migrations

TABLES = set(migrations.tables(migrations.find()))


@pytest_asyncio.fixture
async def own_url(postgres_url: str) -> AsyncIterator[str]:
    """A migrated database with one account."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        await run_sql(url, "INSERT INTO users (id) VALUES ('ada'); INSERT INTO task_clocks (user_id) VALUES ('ada')")
        yield url


def listed(file: Path) -> set[str]:
    """The tables that a file has."""
    from todo_service.commands.dump_files import open_archive

    return set(asyncio.run(open_archive(file)).tables)


async def test_the_file_is_private_and_is_told_of(own_url: str, tmp_path: Path) -> None:
    file = tmp_path / "a backup.dump"
    done = await run("backup", str(file), "--json", DATABASE_URL=own_url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"file": str(file), "bytes": file.stat().st_size, "left_out": []}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a backup.dump"]
    assert await asyncio.to_thread(listed, file) == TABLES


async def test_a_file_that_is_there_stays_without_force(own_url: str, tmp_path: Path) -> None:
    file = tmp_path / "todo.dump"
    file.write_text("precious")
    refused = await run("backup", str(file), DATABASE_URL=own_url)
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (1, "", 1)
    assert "--force" in refused.stderr
    assert file.read_text() == "precious"
    done = await run("backup", str(file), "--force", DATABASE_URL=own_url)
    assert (done.returncode, done.stdout) == (0, f"{file}  {file.stat().st_size:,} bytes\n")
    assert await asyncio.to_thread(listed, file) == TABLES


async def test_without_a_name_it_is_the_moment_in_the_callers_folder(own_url: str, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "bin/backup"), cwd=tmp_path, env={"PATH": "/usr/bin:/bin", **SETTINGS, "DATABASE_URL": own_url},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    output, _ = await process.communicate()
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(r"todo-\d{8}T\d{6}Z\.dump", file.name)
    assert output.decode().startswith(str(file))


async def test_standard_output_is_the_backup_alone(own_url: str, tmp_path: Path) -> None:
    with (tmp_path / "piped").open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "todo_service.commands", "backup", "-", cwd=ROOT,
            env={**SETTINGS, "DATABASE_URL": own_url}, stdout=file, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert await process.wait() == 0
    assert await asyncio.to_thread(listed, tmp_path / "piped") == TABLES
    misuse = await run("backup", "-", "--json", DATABASE_URL=own_url)
    assert (misuse.returncode, misuse.stdout, len(misuse.stderr.splitlines())) == (2, "", 1)


async def test_a_backup_that_fails_leaves_nothing(own_url: str, tmp_path: Path) -> None:
    away = own_url.rpartition("/")[0] + "/no_such_database"
    for url, said in ((away, "does not exist"), (f"{own_url}?pgbouncer=true", "direct address")):
        done = await run("backup", str(tmp_path / "todo.dump"), DATABASE_URL=url)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr
        assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


async def test_what_could_not_be_restored_is_not_backed_up(postgres_url: str, tmp_path: Path) -> None:
    async with temporary_database(postgres_url) as url:
        for take_back in (False, True):
            if take_back:
                await run("migrate", "up", DATABASE_URL=url)
                await run("migrate", "down", str(len(migrations.find())), DATABASE_URL=url)
            done = await run("backup", str(tmp_path / "todo.dump"), DATABASE_URL=url)
            assert (done.returncode, done.stdout) == (1, "")
            assert "nothing to back up" in done.stderr
            assert list(tmp_path.iterdir()) == []


async def test_two_do_not_write_one_file(own_url: str, tmp_path: Path) -> None:
    with (tmp_path / "todo.dump.part").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = await run("backup", str(tmp_path / "todo.dump"), DATABASE_URL=own_url)
        assert (done.returncode, "Another backup" in done.stderr) == (1, True)
    done = await run("backup", str(tmp_path / "todo.dump"), DATABASE_URL=own_url)
    assert done.returncode == 0, "what a killed run left is no hindrance"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
async def test_a_file_that_another_user_made_is_not_written_to(own_url: str, tmp_path: Path) -> None:
    part = tmp_path / "todo.dump.part"
    part.touch()
    os.chown(part, 12345, 12345)
    with part.open("rb") as spy:
        done = await run("backup", str(tmp_path / "todo.dump"), DATABASE_URL=own_url)
        assert (done.returncode, "is not ours" in done.stderr) == (1, True)
        assert spy.read() == b""


async def test_a_leftover_that_is_still_open_somewhere_is_not_written_to(own_url: str, tmp_path: Path) -> None:
    part = tmp_path / "todo.dump.part"
    part.touch(0o666)
    with part.open("rb") as spy:
        assert (await run("backup", str(tmp_path / "todo.dump"), DATABASE_URL=own_url)).returncode == 0
        assert spy.read() == b"", "the backup is another file"
    for way in ("symlink", "fifo"):
        part.symlink_to(tmp_path / "elsewhere") if way == "symlink" else os.mkfifo(part)
        refused = await run("backup", str(tmp_path / "todo.dump"), "--force", DATABASE_URL=own_url)
        assert (refused.returncode, "is not ours" in refused.stderr) == (1, True)
        part.unlink()


@pytest.mark.parametrize("place", ["/no/such/folder/todo.dump", "/dev/null"])
async def test_a_place_that_cannot_be_written_is_one_line(own_url: str, place: str) -> None:
    done = await run("backup", place, "--force", DATABASE_URL=own_url)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
