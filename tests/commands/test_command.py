"""What all commands share: the settings they need, one JSON document, one line for what went wrong."""

import json
from pathlib import Path

import pytest

from tests.commands.test_users import run
from tests.conftest import template_name, temporary_database
from todo_service.commands.command_settings import CommandSettings
from todo_service.commands.development import prepared

PRODUCTION = {"ENVIRONMENT": "production", "SECRET_KEY": "", "BETTER_AUTH_SECRET": "", "BCRYPT_ROUNDS": "12"}


async def test_in_production_no_command_asks_for_a_signing_secret(postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse 9")
    file, data = str(tmp_path / "todo.dump"), tmp_path / "data"
    async with temporary_database(postgres_url, template=template_name()) as url:
        for name, *arguments in (
            ["migrate", "--check"],
            ["create-admin", "ada@example.com", "--password-file", str(tmp_path / "password"), "--json"],
            ["users", "list", "--json"],
            ["purge", "--json"],
            ["audit", "export"],
            ["new-epoch", "--yes", "--json"],
            ["backup", file, "--json"],
            ["restore", file, "--replace", "--yes", "--json"],
        ):
            done = await run(name, *arguments, DATABASE_URL=url, DATA_DIR=str(data), **PRODUCTION)
            assert done.returncode == 0, (name, done.stderr)
            assert "--json" not in arguments or json.loads(done.stdout)
    assert not data.exists(), "no secret is made where none is needed"


def test_a_command_has_no_secret_outside_development(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {**PRODUCTION, "DATABASE_URL": "postgresql://u:p@127.0.0.1/todo", "DATA_DIR": str(tmp_path / "data")}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with prepared(CommandSettings.load()) as settings:
        assert settings.secret_key is None


async def test_documents(postgres_url: str) -> None:
    async with temporary_database(postgres_url, template=template_name()) as url:
        status = json.loads((await run("migrate", "status", "--json", DATABASE_URL=url)).stdout)
        assert status["migrations"][0] == {"name": "0001_create_users", "state": "applied"}
        assert json.loads((await run("new-epoch", "--yes", "--json", DATABASE_URL=url)).stdout) == {"users": 0}
        nothing = {"deleted": 0, "passed_over": 0}
        assert json.loads((await run("purge", "--json", DATABASE_URL=url)).stdout) == {
            "expired_refresh_tokens": nothing, "tombstones_of_tasks": nothing,
            "past_versions_of_tasks": nothing, "ended_sessions": nothing,
            "expired_links": nothing, "expired_personal_tokens": nothing, "idempotency_keys": nothing,
            "audit_log_entries": nothing,
        }  # fmt: skip


async def test_a_database_without_tables_is_told_of(postgres_url: str) -> None:
    async with temporary_database(postgres_url) as url:
        for command in (["users", "list"], ["purge"], ["new-epoch", "--yes"], ["seed-demo"]):
            done = await run(*command, DATABASE_URL=url)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.splitlines()[-1].endswith("Run bin/migrate up.")
