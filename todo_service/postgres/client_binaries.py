"""PostgreSQL's own programs `pg_dump` and `pg_restore`: their location, their version and their environment.

They come from the wheel of the embedded PostgreSQL where it is installed, from the PATH, or from the places where
distributions keep several versions side by side. The wheel's do not support TLS.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from todo_service.config.database_options import EVERY_OWNER
from todo_service.config.database_url import Dsn
from todo_service.postgres.embedded_binaries import EmbeddedError, installed_package

# Connections of Citus to each server: by one, all rows of a user are read as of one moment. PostgreSQL passes over it.
ONE_SNAPSHOT = "citus.max_adaptive_executor_pool_size"
SIDE_BY_SIDE = (("/usr/lib/postgresql", "*/bin"), ("/usr", "pgsql-*/bin"), ("/opt/homebrew/opt", "postgresql@*/bin"))
VERSION_SECONDS = 20
# The variables that asyncpg reads too when the connection string is silent; others of the caller would lead elsewhere.
DEFAULTS = {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGDATABASE"}
SURROUNDINGS = {"PATH", "HOME", "TMPDIR"}


class ProgramError(Exception):
    """A program of PostgreSQL is missing, too old, or failed; the text has the remedy."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program and its major version. `speaks_tls` is False for those of the wheel."""

    path: Path
    version: int
    speaks_tls: bool = True


def find(name: str, *, oldest: int = 0, needs_tls: bool = False) -> Program:
    """Return the first program of this name with major version `oldest` or later. Raises `ProgramError`."""
    seen = list(_programs(name))
    for program in seen:
        if program.version >= oldest and (program.speaks_tls or not needs_tls):
            return program
    return _refuse(name, seen, oldest, needs_tls)


def newest(name: str) -> Program:
    """Return the newest program of this name. Raises `ProgramError`."""
    seen = sorted(_programs(name), key=lambda program: program.version)
    return seen[-1] if seen else _refuse(name, [], 0, False)


def environment(where: Dsn) -> dict[str, str]:
    """Return the environment with which a program reaches PostgreSQL, including the password: command lines are public.

    Raises:
        ProgramError: libpq has no environment variable for a part of the connection string.
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
        "PGOPTIONS": " ".join(
            _option(name, value)
            for name, value in {EVERY_OWNER: "on", ONE_SNAPSHOT: "1", **where.server_settings}.items()
        ),
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
    """Return the major version of a program, or None if it does not run."""
    try:
        done = subprocess.run(  # noqa: S603
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(match[1]) if match else None


def _refuse(name: str, seen: list[Program], oldest: int, needs_tls: bool) -> Program:
    suffix = f" {oldest} or later" if oldest else ""
    package = f"postgresql-client-{oldest}" if oldest else "postgresql-client"
    install = f"Install PostgreSQL's client programs{suffix} (on Debian and Ubuntu the package {package})."
    usable = [program for program in seen if program.speaks_tls or not needs_tls]
    if usable:
        best = max(program.version for program in usable)
        raise ProgramError(f"{name} is of PostgreSQL {best}, older than the server, which is {oldest}. {install}")
    if seen:
        raise ProgramError(f"The {name} of the embedded PostgreSQL has no TLS, which DATABASE_URL asks for. {install}")
    raise ProgramError(f"{name} is not there. {install}")
