"""Clients that are generated from the API's description: they are made, checked, and hold the first conversation."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from tests import packages
from tests.client import Api
from tests.test_documentation import blocks
from todo_service.config.settings import ROOT

HERE = Path(__file__).parent
SECONDS = 120
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("clients")]


async def run(folder: Path, *command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """What a program says; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **QUIET, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        said = (await asyncio.wait_for(process.communicate(), SECONDS))[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, said
    return said


async def described(api: Api, folder: Path, path: str = "/openapi.json") -> Path:
    """The description in a file."""
    file = folder / "openapi.json"
    file.write_bytes((await api.get(path)).raw)
    return file


@pytest.fixture
def programs(tmp_path: Path) -> tuple[str, Path]:
    """Node.js, and the folder of the programs it runs; the test's folder is one they can run in."""
    node = packages.node("TypeScript client")
    installed = packages.from_npm(HERE, "TypeScript client")
    shutil.copytree(HERE, tmp_path, ignore=shutil.ignore_patterns("*.py", "__pycache__"), dirs_exist_ok=True)
    (tmp_path / "node_modules").symlink_to(installed / "node_modules", target_is_directory=True)
    return node, tmp_path / "node_modules/.bin"


async def test_typescript_clients_hold_the_first_conversation(
    api: Api, tmp_path: Path, programs: tuple[str, Path]
) -> None:
    node, program = programs
    await described(api, tmp_path)
    await run(tmp_path, node, program / "openapi-typescript", "openapi.json", "-o", "schema.d.ts")
    await run(tmp_path, node, program / "openapi-ts")
    await run(tmp_path, node, program / "orval", environment={"BASE_URL": api.base})
    await run(tmp_path, node, program / "tsc")
    conversations = sorted(tmp_path.glob("conversation*.js"))
    assert len(conversations) == 3
    for file in conversations:
        assert "held" in await run(tmp_path, node, file.name, api.base, f"{uuid4().hex}@example.com")


CHECKERS = (
    ("redocly", "lint", "openapi.json", "--format=summary"),
    ("spectral", "lint", "openapi.json", "--ruleset=spectral.yaml", "--fail-severity=hint"),
)


@pytest.mark.parametrize("path", ["/openapi.json", "/api/v1/openapi.json"])
async def test_checkers_of_descriptions_find_nothing(
    api: Api, tmp_path: Path, programs: tuple[str, Path], path: str
) -> None:
    node, program = programs
    await described(api, tmp_path / "lint", path)
    if path == "/api/v1/openapi.json":
        (tmp_path / "lint/.redocly.lint-ignore.yaml").unlink()
    for name, *arguments in CHECKERS:
        await run(tmp_path / "lint", node, program / name, *arguments)


async def test_a_checker_finds_a_fault(api: Api, tmp_path: Path, programs: tuple[str, Path]) -> None:
    node, program = programs
    file = await described(api, tmp_path / "lint")
    document = json.loads(file.read_text())
    del document["paths"]["/api/v1/tasks"]["get"]["summary"], document["info"]["contact"]
    file.write_text(json.dumps(document))
    for (name, *arguments), fault in zip(CHECKERS, ("operation-summary", "info-contact"), strict=True):
        with pytest.raises(AssertionError, match=fault):
            await run(tmp_path / "lint", node, program / name, *arguments)


async def test_a_python_client_holds_the_first_conversation(api: Api, tmp_path: Path) -> None:
    installed = await asyncio.to_thread(packages.from_pip, HERE, "Python client")
    programs = installed / "bin"
    (tmp_path / "config.yaml").write_text("post_hooks: []\n")
    file = await described(api, tmp_path)
    options = ("--path", file, "--meta", "none", "--output-path", "todo_client", "--config", "config.yaml")
    said = await run(tmp_path, programs / "openapi-python-client", "generate", *options)
    assert said.count("WARNING") == 2, said  # an import's two media types that are no JSON
    python = (programs / "python", "-W", "error")
    shutil.copy(HERE / "conversation.py", tmp_path)
    assert "held" in await run(tmp_path, *python, "conversation.py", api.base, f"{uuid4().hex}@example.com")
    (printed,) = [text for text in blocks(ROOT / "docs/api.md", "python") if "todo_client" in text]
    program = printed.replace("http://127.0.0.1:8000", api.base) + "print(page.total)\n"
    ada = await api.new_user()
    assert await run(tmp_path, programs / "python", "-c", f"token = {ada.token!r}\n{program}") == "0\n"


def test_every_package_is_pinned_and_no_host_is_named() -> None:
    found = json.loads((HERE / "package-lock.json").read_text())["packages"]
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    assert found.pop("")["dependencies"] == wanted
    for package in found.values():
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package
    assert "://" not in (HERE / "requirements.txt").read_text()
