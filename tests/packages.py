"""Packages that only some tests need: installed once for each lock file, into a folder that git does not see."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from todo_service.config.settings import ROOT

CACHE = ROOT / ".data"
OF_NPM = ("package.json", "package-lock.json")
OF_PIP = ("requirements.txt",)
OLDEST_NODE = 20
INSTALL_SECONDS = 300


def unavailable(what: str, reason: str) -> NoReturn:
    """Skip the test for want of something; where CI is set, nothing may be left out, so fail it there."""
    if os.environ.get("CI"):
        pytest.fail(f"no {what}: {reason}", pytrace=False)
    pytest.skip(f"no {what}: {reason}")


def node(what: str) -> str:
    """The path of a Node.js that is new enough, with npm beside it."""
    program = shutil.which("node")
    if program is None or shutil.which("npm") is None:
        unavailable(what, "node and npm are not installed")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if not version.startswith("v") or int(version[1:].partition(".")[0]) < OLDEST_NODE:
        unavailable(what, f"it needs Node.js {OLDEST_NODE} or later, this one is {version or 'broken'}")
    return program


def from_npm(source: Path, what: str, *, cache: Path = CACHE) -> Path:
    """A folder with `node_modules` as the lock file in `source` has it."""
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    return _once(source, OF_NPM, what, cache, lambda folder: _run(install, folder, what))


def from_pip(source: Path, what: str, *, cache: Path = CACHE) -> Path:
    """A virtual environment with the hashed requirements in `source`; its programs are in `bin`."""

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)], folder, what)
        wanted = ["--require-hashes", "-r", str(folder / OF_PIP[0])]
        _run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *wanted], folder, what)

    return _once(source, OF_PIP, what, cache, make)


def _once(source: Path, needed: Sequence[str], what: str, cache: Path, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills; of several callers one does, and the others wait."""
    content = b"".join((source / name).read_bytes() for name in needed)
    name = what.lower().replace(" ", "-")
    folder = cache / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
    whole = folder / "whole"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for file in needed:
                shutil.copy(source / file, folder)
            make(folder)
            whole.touch()
    return folder


def _run(command: Sequence[str], folder: Path, what: str) -> None:
    named = f"`{' '.join(Path(word).name for word in command[:2])}`"
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=INSTALL_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        unavailable(what, f"{named} took longer than {INSTALL_SECONDS} s")
    if done.returncode:
        unavailable(what, f"{named} failed:\n{done.stdout[-2000:]}")
