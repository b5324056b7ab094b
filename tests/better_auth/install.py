"""Gets a Better Auth server's packages, once for each lock file, into a folder that git does not see."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from todo_service.settings import ROOT

HERE = Path(__file__).parent
CACHE = ROOT / ".data"
PROGRAM = "server.mjs"
NEEDED = ("package.json", "package-lock.json")
OLDEST_NODE = 20
INSTALL_SECONDS = 300


def unavailable(reason: str) -> NoReturn:
    """Skip the test; where CI is set, nothing may be left out, so fail it there."""
    if os.environ.get("CI"):
        pytest.fail(f"no Better Auth server: {reason}", pytrace=False)
    pytest.skip(f"no Better Auth server: {reason}")


def node() -> str:
    """The path of a Node.js that can run it, with npm beside it."""
    program = shutil.which("node")
    if program is None or shutil.which("npm") is None:
        unavailable("node and npm are not installed")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if not version.startswith("v") or int(version[1:].partition(".")[0]) < OLDEST_NODE:
        unavailable(f"it needs Node.js {OLDEST_NODE} or later, this one is {version or 'broken'}")
    return program


def installed(cache: Path = CACHE) -> Path:
    """A folder with `node_modules` as the lock file has it; of several callers one installs and the others wait."""
    content = b"".join((HERE / name).read_bytes() for name in NEEDED)
    folder = cache / f"better-auth-{hashlib.sha256(content).hexdigest()[:16]}"
    whole = folder / "whole"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in NEEDED:
                shutil.copy(HERE / name, folder)
            _npm_ci(folder)
            whole.touch()
    return folder


def _npm_ci(folder: Path) -> None:
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=INSTALL_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        unavailable(f"`npm ci` took longer than {INSTALL_SECONDS} s")
    if done.returncode:
        unavailable(f"`npm ci` failed:\n{done.stdout[-2000:]}")


def assembled(folder: Path, packages: Path) -> Path:
    """The server's program beside its packages, in an empty folder of the caller's."""
    (folder / "node_modules").symlink_to(packages / "node_modules", target_is_directory=True)
    return Path(shutil.copy(HERE / PROGRAM, folder))
