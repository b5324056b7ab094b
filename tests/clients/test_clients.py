"""Clients that are generated from the API's description: they are made, checked, and hold the first conversation."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests import packages
from tests.client import Api
from tests.test_documentation import blocks
from todo_service.config.settings import ROOT

HERE = Path(__file__).parent
SECONDS = 120

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("clients")]


async def run(folder: Path, *command: str | Path) -> str:
    """What a program says; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        said = (await asyncio.wait_for(process.communicate(), SECONDS))[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, said
    return said


async def described(api: Api, folder: Path) -> Path:
    """The description in a file."""
    file = folder / "openapi.json"
    file.write_bytes((await api.get("/openapi.json")).raw)
    return file


async def test_a_typescript_client_holds_the_first_conversation(api: Api, tmp_path: Path) -> None:
    node = packages.node("TypeScript client")
    installed = await asyncio.to_thread(packages.from_npm, HERE, "TypeScript client")
    modules = installed / "node_modules"
    (tmp_path / "node_modules").symlink_to(modules, target_is_directory=True)
    for name in ("conversation.ts", "tsconfig.json", "package.json"):
        shutil.copy(HERE / name, tmp_path)
    await described(api, tmp_path)
    await run(tmp_path, node, modules / "openapi-typescript/bin/cli.js", "openapi.json", "-o", "schema.d.ts")
    await run(tmp_path, node, modules / "typescript/bin/tsc")
    assert "held" in await run(tmp_path, node, "conversation.js", api.base, f"{uuid4().hex}@example.com")


async def test_a_python_client_holds_the_first_conversation(api: Api, tmp_path: Path) -> None:
    programs = await asyncio.to_thread(packages.from_pip, HERE, "Python client") / "bin"
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
