"""`bin/create-admin` and `bin/users`, run as an operator runs them."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.client import PASSWORD, Api, User
from tests.conftest import SECRET_KEY, run_sql
from tests.process import served
from tests.routes.test_sessions import only_administrators, refresh, rows, until_refused
from todo_service import __version__
from todo_service.config.settings import ROOT

SETTINGS = {"SECRET_KEY": SECRET_KEY, "TODO_SERVICE_VENV": sys.prefix, "BCRYPT_ROUNDS": "4"}


async def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command as a process, without a terminal."""
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "bin" / name), *arguments,
        env=os.environ | SETTINGS | environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return subprocess.CompletedProcess(name, process.returncode, out.decode(), err.decode())


async def test_an_administrator_is_made_from_a_password_file(api: Api, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    async with only_administrators(database_url):
        await make_one_and_see(api, database_url, tmp_path)


async def make_one_and_see(api: Api, database_url: str, tmp_path: Path) -> None:
    options = ["root@example.com", "--name", "Root", "--password-file", str(tmp_path / "password")]
    done = await run("create-admin", *options, DATABASE_URL=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "root@example.com is an administrator" in done.stdout
    signed_in = await api.post("/api/v1/auth/login", {"email": "root@example.com", "password": PASSWORD})
    assert (signed_in.body["user"]["role"], signed_in.body["user"]["full_name"]) == ("admin", "Root")
    assert signed_in.body["user"]["email_verified"] is True
    assert (await api.get("/api/v1/users", token=signed_in.body["access_token"])).status == 200
    again = await run("create-admin", *options, DATABASE_URL=database_url)
    assert (again.returncode, again.stderr) == (1, "Email already registered\n")
    demoted = await run("users", "set-role", "root@example.com", "user", DATABASE_URL=database_url)
    assert (demoted.returncode, "no active administrator" in demoted.stderr) == (1, True), "the last one stays"
    user_id = signed_in.body["user"]["id"]
    sql = "SELECT actor_id, detail FROM audit_log WHERE subject_id = $1 ORDER BY id"
    lines = await rows(database_url, sql, user_id)
    assert [tuple(line) for line in lines][:2] == [("bin/create-admin", ""), ("bin/create-admin", "role user -> admin")]


@pytest.mark.parametrize(
    ("email", "password"), [("nonsense", PASSWORD), ("x@example.com", "short"), ("x@example.com", "password1")]
)
async def test_wrong_values_are_2_and_say_why(database_url: str, tmp_path: Path, email: str, password: str) -> None:
    (tmp_path / "password").write_text(password)
    done = await run("create-admin", email, "--password-file", str(tmp_path / "password"), DATABASE_URL=database_url)
    assert done.returncode == 2
    assert done.stderr.startswith(("email: ", "password: "))
    assert password not in done.stderr


async def test_a_password_is_not_taken_from_the_command_line(database_url: str) -> None:
    done = await run("create-admin", "x@example.com", "--password", PASSWORD, DATABASE_URL=database_url)
    assert done.returncode == 2
    missing = await run("create-admin", "x@example.com", "--password-file", "/nowhere", DATABASE_URL=database_url)
    assert (missing.returncode, "Traceback" in missing.stderr) == (2, False)


async def test_accounts_are_listed_and_changed(api: Api, ada: User, database_url: str) -> None:
    listed = await run("users", "list", "--q", ada.email, "--json", DATABASE_URL=database_url)
    assert [json.loads(line)["id"] for line in listed.stdout.splitlines()] == [ada.id]
    out = await run("users", "deactivate", ada.email.upper(), DATABASE_URL=database_url)
    assert (out.returncode, "INACTIVE" in out.stdout) == (0, True)
    again = await run("users", "deactivate", ada.id, "--json", DATABASE_URL=database_url)
    assert (json.loads(again.stdout)["email"], json.loads(again.stdout)["is_active"]) == (ada.email, False)
    await until_refused(api, ada.token)
    inactive = await run("users", "list", "--inactive", "--q", ada.email, DATABASE_URL=database_url)
    assert ada.id in inactive.stdout
    assert (await run("users", "activate", ada.id, DATABASE_URL=database_url)).returncode == 0
    back = await api.post("/api/v1/auth/login", {"email": ada.email, "password": PASSWORD})
    ended = await run("users", "revoke-sessions", ada.id, "--json", DATABASE_URL=database_url)
    assert (ended.returncode, json.loads(ended.stdout)) == (0, {"id": ada.id})
    assert (await refresh(api, back.body["refresh_token"])).status == 401
    nobody = await run("users", "activate", "nobody@example.com", DATABASE_URL=database_url)
    assert (nobody.returncode, len(nobody.stderr.splitlines())) == (1, 1)


async def test_an_id_that_is_the_email_of_another_account_is_not_guessed(api: Api, database_url: str) -> None:
    ada = await api.new_user()
    await run_sql(database_url, f"INSERT INTO users (id) VALUES ('{ada.email}')")  # as an auth server may have them
    both = await run("users", "deactivate", ada.email, DATABASE_URL=database_url)
    assert (both.returncode, len(both.stderr.splitlines())) == (1, 1)
    assert ada.id in both.stderr
    assert "--id or --email" in both.stderr
    assert (await api.get("/api/v1/auth/me", as_=ada)).status == 200
    done = await run("users", "deactivate", "--email", ada.email, "--json", DATABASE_URL=database_url)
    assert json.loads(done.stdout)["id"] == ada.id
    other = await run("users", "set-role", "--id", ada.email, "user", "--json", DATABASE_URL=database_url)
    assert json.loads(other.stdout)["id"] == ada.email
    neither = await run("users", "deactivate", DATABASE_URL=database_url)
    assert (neither.returncode, "--email" in neither.stderr) == (2, True)


async def test_control_characters_of_an_id_are_shown_as_numbers(database_url: str) -> None:
    await run_sql(database_url, "INSERT INTO users (id) VALUES (E'\x1b[31mred\x07-' || gen_random_uuid())")
    listed = await run("users", "list", DATABASE_URL=database_url)
    assert "\x1b" not in listed.stdout
    assert r"\x1b[31mred\x07-" in listed.stdout


async def test_a_terminal_that_cannot_show_a_letter_gets_its_number(api: Api, database_url: str) -> None:
    email = f"дарья-{uuid4().hex}@example.com"
    registered = await api.post("/api/v1/auth/register", {"email": email, "password": PASSWORD})
    assert registered.status == 201
    listed = await run("users", "list", DATABASE_URL=database_url, PYTHONIOENCODING="ascii")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert email.encode("ascii", "backslashreplace").decode() in listed.stdout


async def test_the_embedded_database_of_a_running_service_is_used(tmp_path: Path) -> None:
    async with served(DATA_DIR=str(tmp_path)) as (_, api):
        ada = await api.new_user()
        listed = await run("users", "list", DATA_DIR=str(tmp_path))
        assert (listed.returncode, ada.id in listed.stdout) == (0, True)


async def test_wrong_settings_are_2(database_url: str) -> None:
    done = await run("users", "list", DATABASE_URL="mysql://x")
    assert (done.returncode, "DATABASE_URL" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


async def test_a_forgotten_password_is_set_and_its_sessions_end(api: Api, database_url: str, tmp_path: Path) -> None:
    ada = await api.new_user()
    token = (await api.post("/api/v1/auth/tokens", {"name": "n", "scopes": ["tasks:read"]}, as_=ada)).body["token"]
    assert (await api.get("/api/v1/tasks", token=token)).status == 200
    (tmp_path / "new").write_text("better horse 10\n")
    done = await run(
        "users", "set-password", ada.email, "--password-file", str(tmp_path / "new"), DATABASE_URL=database_url
    )
    assert (done.returncode, done.stderr) == (0, "")
    await until_refused(api, ada.token)
    await until_refused(api, token)
    assert (await refresh(api, ada.refresh_token)).status == 401
    for password, status in ((PASSWORD, 401), ("better horse 10", 200)):
        assert (await api.post("/api/v1/auth/login", {"email": ada.email, "password": password})).status == status
    sql = "SELECT actor_id, action FROM audit_log WHERE subject_id = $1 AND action LIKE 'password%'"
    [line] = await rows(database_url, sql, ada.id)
    assert tuple(line) == ("bin/users", "password_set")
    for password, reason in (("short", "at least 8"), (ada.email, "email")):
        (tmp_path / "new").write_text(password)
        refused = await run(
            "users", "set-password", ada.id, "--password-file", str(tmp_path / "new"), DATABASE_URL=database_url
        )
        assert (refused.returncode, reason in refused.stderr, len(refused.stderr.splitlines())) == (2, True, 1)


async def test_a_link_is_printed_without_mail(api: Api, database_url: str) -> None:
    ada = await api.new_user()
    url = {"PASSWORD_RESET_URL": "https://app.example.com/reset?token={token}", "DATABASE_URL": database_url}
    done = await run("users", "reset-link", ada.email, **url)
    assert (done.returncode, done.stderr) == (0, "")
    link, _, token = done.stdout.strip().partition("=")
    assert (link, len(token)) == ("https://app.example.com/reset?token", 43)
    body = {"token": token, "new_password": "a better horse 10"}
    assert (await api.post("/api/v1/auth/password/reset", body)).status == 204
    bare = await run("users", "reset-link", "--json", ada.id, DATABASE_URL=database_url)
    assert len(json.loads(bare.stdout)["link"]) == 43
    told = await run("users", "reset-link", ada.id, DATABASE_URL=database_url)
    assert "PASSWORD_RESET_URL is not set" in told.stdout
    profile = (await api.post("/api/v1/auth/login", {"email": ada.email, "password": body["new_password"]})).body[
        "user"
    ]
    assert profile["email_verified"] is False, "nothing was sent to the address"
    assert (await run("users", "deactivate", ada.id, DATABASE_URL=database_url)).returncode == 0
    inactive = await run("users", "reset-link", ada.id, DATABASE_URL=database_url)
    assert (inactive.returncode, "deactivated" in inactive.stderr) == (1, True)
    await run_sql(database_url, f"INSERT INTO users (id) VALUES ('elsewhere-{ada.id}')")
    outside = await run("users", "reset-link", f"elsewhere-{ada.id}", DATABASE_URL=database_url)
    assert (outside.returncode, "signs in elsewhere" in outside.stderr) == (1, True)
    acts = "SELECT count(*) FROM audit_log WHERE action = 'password_reset_requested' AND actor_id = 'bin/users'"
    assert (await rows(database_url, f"{acts} AND subject_id = $1", ada.id))[0][0] == 3


@pytest.mark.parametrize("name", ["users", "migrate", "backup", "serve"])
async def test_commands_tell_their_version(name: str) -> None:
    done = await run(name, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"Todo Service {__version__}\n", "")
