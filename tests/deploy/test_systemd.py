"""The systemd units: read without a word, closed in, and with the times of the service."""

import configparser
import re
import sys
from pathlib import Path

import pytest

from tests.deploy.programs import DEPLOY, program, run
from todo_service.config.settings import DRAIN_SECONDS_IN_PRODUCTION, ROOT
from todo_service.postgres import connector
from todo_service.server import runner

UNITS = sorted([*(DEPLOY / "systemd").glob("*.service"), *(DEPLOY / "systemd").glob("*.timer")])
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
MOST_EXPOSED = 1.5  # of 10, by systemd's own count


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/todo-service/bin", str(ROOT / "bin")))
    done = run(program("systemd-analyze"), "verify", "--man=no", *(tmp_path / unit.name for unit in UNITS))
    said = [line for line in done.stdout.splitlines() if "todo-service" in line]
    assert (done.returncode, said) == (0, []), done.stdout


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_little_is_exposed(unit: Path) -> None:
    done = run(program("systemd-analyze"), "security", "--offline=true", "--no-pager", unit)
    found = re.search(r"exposure level for .*: ([\d.]+)", done.stdout)
    assert found, done.stdout
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_what_it_runs_is_there_and_secrets_are_in_a_file_of_their_own(unit: Path) -> None:
    text = unit.read_text()
    (command,) = re.findall(r"^ExecStart=/opt/todo-service/(\S+)$", text, re.MULTILINE)
    assert (ROOT / command).exists()
    assert "EnvironmentFile=/etc/todo-service/environment\n" in text
    assert not re.search(r"^Environment=.*(SECRET|PASSWORD|DATABASE_URL)", text, re.MULTILINE)


def test_the_service_may_read_what_its_metrics_of_processes_are_made_of() -> None:
    assert "ProcSubset=" not in (DEPLOY / "systemd/todo-service.service").read_text(), "/proc/stat has the boot time"


def test_it_is_given_the_time_a_polite_end_takes() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(DEPLOY / "systemd/todo-service.service")
    ending = runner.LINGER_SECONDS + runner.SHUTDOWN_SECONDS + runner.MAIL_SECONDS
    needed = DRAIN_SECONDS_IN_PRODUCTION + ending + connector.CLOSE_SECONDS
    assert int(unit["Service"]["TimeoutStopSec"]) > needed
    assert unit["Service"]["RestartPreventExitStatus"] == "2"


@pytest.mark.usefixtures("ada")
def test_an_operator_runs_commands_with_the_settings_of_the_service(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "environment").write_text(f"DATABASE_URL='{database_url}'\n")
    script = (DEPLOY / "systemd/todo").read_text().replace("/etc/todo-service", str(tmp_path))
    script = script.replace("/opt/todo-service/.venv", sys.prefix).replace("/opt/todo-service", str(ROOT))
    (tmp_path / "todo").write_text(script)
    listed = run("sh", tmp_path / "todo", "users", "list", "--json", cwd=tmp_path)
    assert (listed.returncode, '"email"' in listed.stdout) == (0, True)
    assert run("sh", tmp_path / "todo", "backup", "here.dump", cwd=tmp_path).returncode == 0
    assert (tmp_path / "here.dump").exists(), "a relative path is the caller's"
    (tmp_path / "owner").write_text("DATABASE_URL=postgresql://owner@127.0.0.1:1/todo\n")
    assert "Nothing listens" in run("sh", tmp_path / "todo", "migrate", "status", cwd=tmp_path).stdout, "as the owner"
    assert run("sh", tmp_path / "todo", "users", "list", cwd=tmp_path).returncode == 0
    usage = run("sh", tmp_path / "todo")
    assert (usage.returncode, "usage: todo COMMAND" in usage.stdout) == (2, True)
