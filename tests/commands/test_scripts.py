"""The scripts in `bin/`, run as people run them, on small copies of the project; no network is needed."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ENCRYPTION_KEY

ROOT = Path(__file__).parent.parent.parent
VENV = Path(sys.prefix)
SCRIPTS = [
    "serve", "migrate", "test", "check", "bench", "create-admin", "users", "purge", "new-epoch", "backup", "restore",
    "seed-demo", "distribute", "reencrypt", "vendor-docs", "sbom", "audit", "chaos",
]  # fmt: skip
COMMANDS = [
    ["migrate", "up"],
    ["migrate", "status", "--json"],
    ["migrate", "--check"],
    ["create-admin", "ada@example.com", "--password-file", "FOLDER/password"],
    ["users", "list", "--json"],
    ["users", "deactivate", "ada@example.com"],
    ["purge", "--json"],
    ["audit", "verify", "--json"],
    ["new-epoch", "--yes", "--json"],
    ["backup", "FOLDER/todo.dump", "--json"],
    ["restore", "FOLDER/todo.dump"],
    ["seed-demo", "--json"],
    ["reencrypt", "--json"],
]


def run(script: Path, *arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script with a nearly empty environment, so that this one's does not help it."""
    surroundings = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"} | environment
    return subprocess.run(
        [script, *arguments], cwd=cwd, env=surroundings, capture_output=True, text=True, timeout=20, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of the same scripts and nothing to install, with a package that tells how it was started."""
    project = tmp_path / "a project für me"
    shutil.copytree(ROOT / "bin", project / "bin")
    (project / "requirements.txt").touch()
    (project / "requirements-serve.txt").write_text("# nothing\n")
    (project / "requirements-dev.txt").write_text("# nothing for the tests\n")
    package = project / "todo_service"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import os, sys; print(os.getpid(), os.getcwd(), sys.prefix, sep='\\n')")
    return project


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_explains_itself(name: str) -> None:
    done = run(ROOT / "bin" / name, "--help", TODO_SERVICE_VENV=str(VENV))
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage:" in done.stdout
    assert len(re.findall(rf"^.*bin/{name}\b", done.stdout, re.MULTILINE)) >= 2, "how it is used, and an example"
    assert re.search("exit status", done.stdout, re.IGNORECASE)


def test_every_script_is_walked() -> None:
    assert {path.name for path in (ROOT / "bin").iterdir()} == {*SCRIPTS, "_env"}


@pytest.mark.parametrize("name", sorted({*SCRIPTS} - {"test"}))
def test_an_unknown_option_is_refused(name: str) -> None:
    done = run(ROOT / "bin" / name, "--no-such-option", TODO_SERVICE_VENV=str(VENV))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "see --help." in line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_unreachable_database_is_one_line(command: list[str], tmp_path: Path) -> None:
    done = run_command(command, tmp_path, DATABASE_URL="postgresql://todo:p4ssw0rd@127.0.0.1:1/todo")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert len(line) > 20
    assert "p4ssw0rd" not in line


@pytest.mark.parametrize("command", [*COMMANDS, ["serve"]], ids=" ".join)
def test_wrong_settings_are_all_named(command: list[str], tmp_path: Path) -> None:
    wrong = {"ENVIRONMENT": "production", "DATABASE_POOL_MIN": "9", "DATABASE_POOL_MAX": "3", "BCRYPT_ROUNDS": "x"}
    done = run_command(command, tmp_path, **wrong)
    assert (done.returncode, done.stdout) == (2, "")
    named = set(re.findall("^  ([A-Z_]+): ", done.stderr, re.MULTILINE))
    expected = {"DATABASE_URL", "DATABASE_POOL_MAX", "BCRYPT_ROUNDS"}
    assert named == (expected | {"SECRET_KEY"} if command == ["serve"] else expected), "only the service signs"


def run_command(command: list[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    (folder / "password").write_text("correct horse 9")
    name, *arguments = (word.replace("FOLDER", str(folder)) for word in command)
    settings |= {"TODO_SERVICE_VENV": str(VENV), "ENCRYPTION_KEY": ENCRYPTION_KEY}
    return run(ROOT / "bin" / name, *arguments, cwd=ROOT, **settings)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "x"], "WEB_CONCURRENCY: "),
        (["--workers=x"], "WEB_CONCURRENCY: "),
        (["--workers"], "see --help."),
        (["--workers=2", "more"], "see --help."),
    ],
    ids=" ".join,
)
def test_serve_takes_workers_and_nothing_else(arguments: list[str], said: str) -> None:
    done = run(ROOT / "bin/serve", *arguments, TODO_SERVICE_VENV=str(VENV))
    assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True)


def test_arguments_go_on_to_pytest() -> None:
    done = run(ROOT / "bin/test", "--version", cwd=Path("/"), TODO_SERVICE_VENV=str(VENV))
    assert done.returncode == 0
    assert done.stdout.startswith("pytest ")


def test_a_ready_environment_is_used_and_none_is_made(project: Path) -> None:
    done = run(project / "bin/serve", cwd=Path("/"), TODO_SERVICE_VENV=str(VENV), PYTHONPATH="/x", PYTHONSAFEPATH="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [str(project), str(VENV)]
    assert not (project / ".venv").exists()


def test_serve_becomes_the_python_process(project: Path) -> None:
    command = [project / "bin/serve"]
    environment = {"PATH": "/usr/bin:/bin", "TODO_SERVICE_VENV": str(VENV)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=20)
    assert output.splitlines()[0] == str(process.pid)


def test_an_environment_that_is_none_is_refused(project: Path) -> None:
    done = run(project / "bin/serve", TODO_SERVICE_VENV="/nonexistent")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "serve: TODO_SERVICE_VENV=/nonexistent has no Python 3.11 or later.\n"


def test_a_python_that_is_none_is_refused(project: Path) -> None:
    done = run(project / "bin/serve", PYTHON="/bin/false")
    assert (done.returncode, done.stderr) == (2, "serve: PYTHON=/bin/false is not a Python 3.11 or later.\n")
    assert not (project / ".venv/bin").exists()


@pytest.fixture
def fake(project: Path, tmp_path: Path) -> str:
    """A Python whose environments are made in an instant: links, and a pip that writes down that it was called."""
    fake = tmp_path / "python"
    fake.write_text(
        f"""#!/bin/sh
case "$*" in
    "-I -m venv "*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
    "-I -m pip "*) echo "$@" >>"{project}/pip.log"; [ ! -e "{project}/no network" ] ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""
    )
    fake.chmod(0o755)
    return str(fake)


def installs(project: Path) -> int:
    log = project / "pip.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_the_first_start_installs_and_the_second_does_not(project: Path, fake: str) -> None:
    link = project.parent / "link"
    link.symlink_to(project / "bin/serve")
    for _ in range(2):
        done = run(link, cwd=Path("/"), PYTHON=fake)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[1] == str(project)
    assert done.stderr == ""
    installed = "-I -m pip install --no-compile --require-hashes -r requirements-serve.txt\n"
    assert (project / "pip.log").read_text() == installed


def test_production_installs_less(project: Path, fake: str) -> None:
    run(project / "bin/serve", PYTHON=fake, ENVIRONMENT="production")
    assert "-r requirements.txt" in (project / "pip.log").read_text()


def test_the_tests_packages_are_added_and_serve_too(project: Path, fake: str) -> None:
    for script, count in (("serve", 1), ("test", 2), ("serve", 2), ("test", 2)):
        run(project / "bin" / script, PYTHON=fake)
        assert installs(project) == count
    assert "-r requirements-dev.txt" in (project / "pip.log").read_text()


def test_other_pins_are_installed_into_the_same_environment(project: Path, fake: str) -> None:
    run(project / "bin/serve", PYTHON=fake)
    (project / ".venv/mark").touch()
    (project / "requirements-serve.txt").write_text("# other\n")
    assert run(project / "bin/serve", PYTHON=fake).returncode == 0
    assert installs(project) == 2
    assert (project / ".venv/mark").exists()


@pytest.mark.parametrize("state", ["unfinished", "broken", "moved"])
def test_an_environment_that_does_not_fit_is_made_anew(project: Path, fake: str, state: str) -> None:
    run(project / "bin/serve", PYTHON=fake)
    (project / ".venv/mark").touch()
    if state == "unfinished":
        (project / ".venv/unfinished").touch()
    elif state == "broken":
        (project / ".venv/bin/python").unlink()
    else:
        project = project.rename(project.with_name("moved"))
    done = run(project / "bin/serve", PYTHON=fake)
    assert done.returncode == 0, done.stderr
    assert not (project / ".venv/mark").exists()
    assert run(project / "bin/serve", PYTHON=fake).stderr == ""


def test_an_environment_that_somebody_else_made_is_left_alone(project: Path, fake: str) -> None:
    """It may be the one a service runs from."""
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".venv/bin/python").symlink_to(sys.executable)
    for environment in ("development", "production"):
        done = run(project / "bin/serve", PYTHON=fake, ENVIRONMENT=environment)
        assert (done.returncode, done.stdout) == (1, "")
        assert "TODO_SERVICE_VENV" in done.stderr
    assert (project / ".venv/bin/python").exists()
    assert installs(project) == 0


def test_a_failed_installation_is_explained_and_repaired(project: Path, fake: str) -> None:
    (project / "no network").touch()
    done = run(project / "bin/serve", PYTHON=fake)
    assert (done.returncode, done.stdout) == (1, "")
    assert "could not install requirements-serve.txt" in done.stderr.splitlines()[-1]
    (project / "no network").unlink()
    assert run(project / "bin/serve", PYTHON=fake).returncode == 0


def test_two_at_once_install_once(project: Path, fake: str) -> None:
    with (project / "requirements.txt").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command, environment = [project / "bin/serve"], os.environ | {"PYTHON": fake, "TODO_SERVICE_VENV": ""}
        both = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for process in both:
            assert process.stderr is not None
            assert "Waiting for another script" in process.stderr.readline()
    for process in both:
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert installs(project) == 1
