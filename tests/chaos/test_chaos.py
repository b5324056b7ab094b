"""The short forms of the experiments."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.chaos.__main__ import experiments
from tests.chaos.report import Report, write
from todo_service.config.settings import ROOT

KNOWN = experiments()
SHORT = [name for name, module in KNOWN.items() if module.SHORT]


@pytest.mark.parametrize("name", SHORT)
async def test_what_is_broken_loses_nothing(name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos", name, "--short", cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, output.decode()


def test_each_says_what_it_breaks_and_when_it_passes() -> None:
    assert len(KNOWN) >= 25
    for name, module in KNOWN.items():
        assert module.__doc__, name
        first, _, rest = module.__doc__.partition("\n")
        assert ": " in first
        assert "Pass: " in rest


def test_a_report_says_what_does_not_hold(tmp_path: Path) -> None:
    report = Report("E0")
    report.at_most("seconds", 3.0, 2)
    report.at_least("rows", 3, 2)
    report.equals("lost", 0, 0)
    assert not report.holds
    assert [line.split()[0] for line in report.lines()] == ["FAIL", "ok", "ok"]
    assert not Report("E0").holds, "nothing measured is no success"
    assert not Report("E0", error="it broke").holds
    write(tmp_path / "report.json", [report])
    assert (
        "| E0 | no | seconds: 3.0 (at most 2); rows: 3 (at least 2); lost: 0 (exactly 0) |"
        in (tmp_path / "report.md").read_text()
    )
    assert '"holds": false' in (tmp_path / "report.json").read_text()
