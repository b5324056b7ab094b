"""What stands around the Better Auth server: pinned packages, installed once, never left out in CI."""

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.better_auth import install, peer
from tests.conftest import temporary_database

NPM = """#!/bin/sh
echo "$*" >>"{log}"
sleep 0.2
[ -e "{broken}" ] && {{ echo "no such package"; exit 1; }}
mkdir node_modules && touch node_modules/whole
"""


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `npm` that notes how it was called in a file, and fails where there is a file `broken` beside it."""
    log = tmp_path / "log"
    program = tmp_path / "npm"
    program.write_text(NPM.format(log=log, broken=tmp_path / "broken"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return log


def test_every_package_is_pinned_and_no_host_is_named() -> None:
    wanted = json.loads((install.HERE / "package.json").read_text())["dependencies"]
    packages = json.loads((install.HERE / "package-lock.json").read_text())["packages"]
    assert packages.pop("")["dependencies"] == wanted
    assert all(packages[f"node_modules/{name}"]["version"] == version for name, version in wanted.items())
    for package in packages.values():
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package


def test_one_installs_and_the_others_wait(npm: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(install.installed, [tmp_path / "cache"] * 4))
    assert len(folders) == 1
    assert (folders.pop() / "node_modules/whole").exists()
    assert npm.read_text() == "ci --ignore-scripts --no-audit --no-fund\n"


def test_an_installation_that_was_cut_short_is_begun_again(
    npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "broken").touch()
    with pytest.raises(pytest.skip.Exception, match="no such package"):
        install.installed(tmp_path / "cache")
    (tmp_path / "broken").unlink()
    assert (install.installed(tmp_path / "cache") / "node_modules/whole").exists()
    assert len(npm.read_text().splitlines()) == 2


def test_without_node_it_is_skipped_with_a_reason_and_fails_where_ci_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="node and npm are not installed"):
        install.node()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="node and npm are not installed"):
        install.node()


def test_an_old_node_will_not_do(npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "node").write_text("#!/bin/sh\necho v18.19.0\n")
    (tmp_path / "node").chmod(0o755)
    with pytest.raises(pytest.skip.Exception, match="this one is v18"):
        install.node()


STARTER = """
import asyncio, os, sys
from pathlib import Path
from tests.better_auth import peer

async def start():
    async with peer.running(sys.argv[1], Path(sys.argv[2]), sys.argv[3]) as server:
        print(server.process.pid, flush=True)
        os.kill(os.getpid(), 9)

asyncio.run(start())
"""


@pytest.mark.better_auth
@pytest.mark.xdist_group("better_auth")
async def test_it_ends_with_whoever_started_it(node: str, program: Path, postgres_url: str) -> None:
    async with temporary_database(postgres_url) as url:
        command = [sys.executable, "-c", STARTER, node, str(program), url]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        pid = int(done.stdout)
        async with asyncio.timeout(peer.PATIENCE):
            while _lives(pid):
                await asyncio.sleep(0.05)


def _lives(pid: int) -> bool:
    """Whether a process runs; one that has ended but nobody has asked for does not."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
