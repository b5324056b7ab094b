"""The program of a Better Auth server, and the packages it needs."""

import shutil
from pathlib import Path

from tests import packages

HERE = Path(__file__).parent
PROGRAM = "server.mjs"
WHAT = "Better Auth server"


def node() -> str:
    """The path of a Node.js that can run it, with npm beside it."""
    return packages.node(WHAT)


def installed(cache: Path = packages.CACHE) -> Path:
    """A folder with `node_modules` as the lock file has it."""
    return packages.from_npm(HERE, WHAT, cache=cache)


def assembled(folder: Path, packages: Path) -> Path:
    """The server's program beside its packages, in an empty folder of the caller's."""
    (folder / "node_modules").symlink_to(packages / "node_modules", target_is_directory=True)
    return Path(shutil.copy(HERE / PROGRAM, folder))
