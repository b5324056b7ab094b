"""No dependency is older than the fix of an advisory that concerns how it is used here, and bandit finds nothing."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[1]

FLOORS = {
    "aiohttp": ("3.14.1", "a pipeline of requests held memory; before: CVE-2024-23334, CVE-2024-52304, CVE-2025-53643"),
    "cryptography": ("44.0.1", "CVE-2024-12797"),
    "gunicorn": ("23.0.0", "CVE-2024-1135, CVE-2024-6827: request smuggling"),
    "idna": ("3.7", "CVE-2024-3651: quadratic time"),
    "orjson": ("3.9.15", "CVE-2024-27454: recursion"),
    "pydantic": ("2.4.0", "CVE-2024-3772: quadratic time"),
    "pyjwt": ("2.10.1", "CVE-2024-53861: partial comparison of the issuer"),
    "redis": ("4.5.5", "CVE-2023-28859: answers of other requests"),
    "uvloop": ("0.17.0", "descriptors left open"),
}


@pytest.mark.parametrize("package", FLOORS)
def test_no_version_with_a_known_advisory_is_installed(package: str) -> None:
    floor, reason = FLOORS[package]
    assert Version(version(package)) >= Version(floor), reason


def test_bandit_finds_nothing() -> None:
    program = Path(sys.executable).with_name("bandit")
    if not program.exists():
        pytest.skip("bandit is not installed beside this Python")
    command = [str(program), "--quiet", "--configfile", "pyproject.toml", "--recursive", "todo_service"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
