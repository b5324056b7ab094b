"""What can be known of the image without building it: what goes in, who it runs as, how it says that it lives."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from todo_service import __version__
from todo_service.config.settings import ROOT, Settings

DOCKERFILE = ROOT / "Dockerfile"
RULES = (ROOT / ".dockerignore").read_text().splitlines()
PIECES = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
PRIVATE = (
    ".env",
    ".git/config",
    ".venv/bin/python",
    ".data/secret_key",
    ".data/postgres/cluster/PG_VERSION",
    "todo_service/.env",
    "todo_service/__pycache__/app.cpython-312.pyc",
    "todo_service/queries/__pycache__/tasks.cpython-312.pyc",
    "todo_service.egg-info/PKG-INFO",
    "tests/conftest.py",
    "bin/test",
)


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of that name, its lines joined as a builder joins them."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    return re.findall(rf"^{name}\s+(.+)$", joined, re.MULTILINE)


def copied() -> list[str]:
    """The paths of this folder that the image takes, without a slash at the end."""
    return [
        source.rstrip("/")
        for arguments in instructions("COPY")
        if not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    ]


def let_through(path: str) -> bool:
    """Whether `.dockerignore` sends a path to the builder: the last rule that meets it or a folder above it says."""
    above = [path, *(str(parent) for parent in Path(path).parents if parent.name)]
    sent = True
    for rule in RULES:
        if rule and not rule.startswith("#") and any(_pattern(rule).fullmatch(part) for part in above):
            sent = rule.startswith("!")
    return sent


def _pattern(rule: str) -> re.Pattern[str]:
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", rule.removeprefix("!").strip("/"))
    return re.compile("".join(PIECES.get(piece, re.escape(piece)) for piece in pieces))


def tracked() -> list[str]:
    """The files git knows here."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this folder is not a git checkout that may be read")
    return [path for path in done.stdout.split("\0") if path]


@pytest.mark.parametrize("path", copied())
def test_what_the_image_copies_is_there_and_sent(path: str) -> None:
    assert (ROOT / path).exists()
    assert let_through(path)


def test_every_module_migration_and_operators_script_is_sent() -> None:
    needed = [path for path in tracked() if path.startswith(("todo_service/", "sql/"))]
    assert needed
    assert [path for path in [*needed, "bin/serve", "bin/migrate", "bin/_env"] if not let_through(path)] == []


def test_nothing_else_is_sent() -> None:
    sources = copied()
    sent = [path for path in tracked() if let_through(path)]
    assert [
        path for path in sent if not any(path == source or path.startswith(f"{source}/") for source in sources)
    ] == []


@pytest.mark.parametrize("path", PRIVATE)
def test_what_is_private_or_useless_there_is_not_sent(path: str) -> None:
    assert not let_through(path)


def test_one_base_that_is_named_once_for_each_stage() -> None:
    assert {arguments.split()[0] for arguments in instructions("FROM")} == {"$BASE"}
    assert {value for value in instructions("ARG") if value.startswith("BASE")} == {"BASE=python:3.12-slim"}


def test_labels_say_what_it_is_and_where_it_comes_from() -> None:
    (labels,) = instructions("LABEL")
    names = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", labels))
    assert names == {"title", "description", "version", "licenses", "revision", "created", "base.name"}
    assert f'org.opencontainers.image.version="{__version__}"' in labels
    for argument in re.findall(r"=\$([A-Z]+)", labels):
        assert any(value.startswith(f"{argument}=") for value in instructions("ARG"))


def test_runs_as_a_number_that_is_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", instructions("USER")[-1])


def test_fixes_only_settings_that_belong_to_a_container() -> None:
    fixed = set(re.findall(r"(\w+)=", " ".join(instructions("ENV"))))
    assert fixed & {name.upper() for name in Settings.model_fields} == {"ENVIRONMENT", "SERVER_HOST"}


def test_no_shell_stands_between_a_signal_and_the_service() -> None:
    assert json.loads(instructions("CMD")[-1]) == ["python", "-m", "todo_service"]
    assert instructions("ENTRYPOINT") == []


class _Service(BaseHTTPRequestHandler):
    """Answers the paths it was told of, anything else 404."""

    answers: ClassVar[dict[str, int]] = {}

    def do_GET(self) -> None:
        self.send_response(self.answers.get(self.path, 404))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Say nothing."""


@contextmanager
def service(answers: dict[str, int]) -> Iterator[str]:
    """A server with these answers; its port."""
    handler = type("_Answering", (_Service,), {"answers": answers})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield str(server.server_port)
        finally:
            server.shutdown()
            thread.join()


def health_check(**variables: str) -> int:
    """The exit status of the image's own check, run here with these variables and a proxy nobody answers at."""
    command = json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
    assert command[0] == "python"
    environment = {"PATH": os.environ["PATH"], "http_proxy": "http://127.0.0.1:1", **variables}
    return subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True, check=False).returncode


def test_health_check_asks_for_life_only() -> None:
    with service({"/health/live": 200, "/health/ready": 503, "/health": 503}) as port:
        assert health_check(SERVER_HOST="0.0.0.0", SERVER_PORT=port) == 0  # noqa: S104 - as the image has it
        assert health_check(SERVER_HOST="", SERVER_PORT="", PORT=port) == 0
        assert health_check(SERVER_PORT=port, PORT="1") == 0


def test_health_check_sees_a_service_that_is_not_well_or_not_there() -> None:
    with service({"/health/live": 503}) as port:
        assert health_check(SERVER_PORT=port) == 1
    assert health_check(SERVER_PORT=port) == 1


def test_hadolint_finds_nothing() -> None:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint is not installed beside this Python")
    done = subprocess.run([program, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
