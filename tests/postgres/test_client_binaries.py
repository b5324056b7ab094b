"""PostgreSQL's programs: which one is taken, and what it is told where no command line shows it."""

from pathlib import Path

import pytest

from todo_service.config import database_url
from todo_service.postgres import client_binaries
from todo_service.postgres.client_binaries import ProgramError, environment, find, newest
from todo_service.postgres.embedded_binaries import EmbeddedError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a wheel, whose PATH is this folder."""

    def no_wheel() -> Path:
        raise EmbeddedError("not installed")

    monkeypatch.setattr(client_binaries, "installed_package", no_wheel)
    monkeypatch.setattr(client_binaries, "SIDE_BY_SIDE", ((str(tmp_path / "postgresql"), "*/bin"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pg_dump"
    path.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
    path.chmod(0o755)
    return path


def test_the_wheel_has_them() -> None:
    for name in ("pg_dump", "pg_restore"):
        assert find(name).version >= 18
        assert find(name).speaks_tls is False
    assert newest("pg_restore").version >= 18


def test_without_a_wheel_those_of_the_path_are_taken(machine: Path) -> None:
    path = program(machine, "17.2 (Debian 17.2-1)")
    assert (find("pg_dump", oldest=17, needs_tls=True).path, newest("pg_dump").version) == (path, 17)


def test_one_that_is_too_old_is_passed_over(machine: Path) -> None:
    program(machine, "15.18")
    for version in ("16.1", "18.6"):
        program(machine / f"postgresql/{version[:2]}/bin", version)
    assert [find("pg_dump", oldest=oldest).version for oldest in (15, 16, 17, 18)] == [15, 18, 18, 18]
    assert newest("pg_dump").version == 18
    with pytest.raises(ProgramError, match=r"of PostgreSQL 18, older than the server, which is 19\..*client-19"):
        find("pg_dump", oldest=19)


def test_what_is_missing_or_no_program_is_named(machine: Path) -> None:
    (machine / "pg_dump").write_text("no program")
    for broken in (0o644, 0o755):
        (machine / "pg_dump").chmod(broken)
        with pytest.raises(ProgramError, match=r"pg_dump is not there\. Install .*postgresql-client-18"):
            find("pg_dump", oldest=18)


def test_the_wheel_is_not_taken_for_tls(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(machine / "pginstall/bin", "18.6")
    monkeypatch.setattr(client_binaries, "installed_package", lambda: machine)
    assert find("pg_dump", oldest=18).speaks_tls is False
    with pytest.raises(ProgramError, match="has no TLS"):
        find("pg_dump", oldest=18, needs_tls=True)
    program(machine, "15.18")
    with pytest.raises(ProgramError, match="of PostgreSQL 15, older than the server"):
        find("pg_dump", oldest=18, needs_tls=True)


def test_every_part_of_the_connection_string_gets_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    monkeypatch.setenv("PGUSER", "somebody")
    monkeypatch.setenv("SECRET_KEY", "not for others")
    url = "postgresql+asyncpg://ada:p%40ss%2F%23%20w@a.test:5433,b.test/to%20do?ssl=require&connect_timeout=7"
    told = environment(database_url.parse(url + "&options=-c%20role%3Dan%5C%20owner&channel_binding=require"))
    assert told | {"PATH": "", "HOME": ""} == {
        "PATH": "", "HOME": "", "LC_ALL": "C.UTF-8", "PGAPPNAME": "bin/backup", "PGHOST": "a.test,b.test",
        "PGPORT": "5433,5432", "PGUSER": "ada", "PGPASSWORD": "p@ss/# w", "PGDATABASE": "to do", "PGSSLMODE": "require",
        "PGTARGETSESSIONATTRS": "read-write", "PGCONNECT_TIMEOUT": "7",
        "PGOPTIONS": "-c todo.every_owner=on -c citus.max_adaptive_executor_pool_size=1 -c role=an\\ owner",
    }  # fmt: skip
    assert environment(database_url.parse("postgresql:///todo"))["PGUSER"] == "somebody"


def test_what_has_no_variable_is_refused() -> None:
    where = database_url.Dsn(sslpassword="p4ss")
    with pytest.raises(ProgramError, match="sslpassword"):
        environment(where)
