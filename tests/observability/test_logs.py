"""The log: whatever is said to the service and whatever goes wrong, no secret and no word of a user is ever in it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from tests import provider as misbehaviour
from tests.auth_server import shared
from tests.client import Api, User
from tests.commands.test_users import run
from tests.conftest import run_sql, template_name, temporary_database
from tests.process import served
from tests.provider import BAD, GOOD, KEYS, OTHER_GOOD, SPENT, AiProvider, ai_provider, always
from tests.rows import path_of
from todo_service.config.settings import ROOT
from todo_service.routes.all_routes import ROUTES

PASSWORD = "canary-password-zanzibar"
OTHER_PASSWORD = "canary-password-madagascar"
SERVICE_TOKEN = "canary-service-token-0123456789-abcdefgh"
AUTH_SECRET = "canary-auth-secret-0123456789-abcdefghi"
ENCRYPTION_KEY = "canary-encryption-key-0123456789abcdefghijk="
SESSION_TOKEN = "canary-session-token-0123456789"
SECRETS = (
    PASSWORD, OTHER_PASSWORD, SERVICE_TOKEN, AUTH_SECRET, SESSION_TOKEN, "canary-secret-key-0123456789-abcdefghij",
    "canary-redis-password", "canary-cookie", "canary-query", ENCRYPTION_KEY, *KEYS,
)  # fmt: skip
WORDS = (
    "canary-title",
    "canary-description",
    "canary-tag",
    "canary-name",
    "canary-ada",
    "canary-bob",
    "canary-outside",
)
DEFECTS = (
    "ALTER TABLE tasks ADD CONSTRAINT surprise CHECK (title NOT LIKE 'canary%') NOT VALID",
    "CREATE UNIQUE INDEX surprise_email ON users (left(email, 10)) WHERE email LIKE 'canary-zed%'",
)
EVENTS = {
    "request", "registered", "sign_in_failed", "signed_in", "session_begun", "session_refreshed", "session_ended",
    "sessions_ended", "password_changed", "password_refused", "account_deleted", "user_updated", "task_created",
    "task_updated", "task_completed", "task_reopened", "task_deleted", "batch_done", "tasks_imported", "defect",
    "bad_request", "stopped", "api_key_stored", "api_key_read", "api_key_deleted", "api_key_undecryptable",
    "provider_unreachable",
}  # fmt: skip


@dataclass
class Said:
    """What a conversation left in the log, and the secrets that came up in it."""

    output: str
    secrets: list[str]

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]


async def register(api: Api, name: str) -> User:
    known = {"email": f"{name}-{uuid4().hex}@example.com", "password": PASSWORD, "full_name": "canary-name"}
    answer = await api.post("/api/auth/signup", known)
    assert answer.status == 201, answer.raw
    return User(answer.body["user_id"], known["email"], answer.body["token"], answer.body["refresh_token"])


async def converse(api: Api, url: str) -> list[str]:
    """Everything a user, an administrator and a service do; returns the tokens that were given out."""
    ada, bob = await register(api, "canary-ada"), await register(api, "canary-bob")
    await run_sql(url, f"UPDATE users SET role = 'admin' WHERE id = '{bob.id}'")
    signed_in = await api.post("/api/v1/auth/login", {"email": bob.email, "password": PASSWORD})
    admin = signed_in.body["access_token"]
    await api.post("/api/v1/auth/login", {"email": ada.email, "password": OTHER_PASSWORD})
    task: dict[str, object] = {"title": "canary-title", "description": "canary-description", "tags": ["canary-tag"]}
    created = await api.post("/api/v1/tasks", task, as_=ada, headers={"Idempotency-Key": "canary-query"})
    path = f"/api/v1/tasks/{created.body['id']}"
    await api.patch(path, {"title": "canary-title-2"}, as_=ada)
    await api.patch(path, {"title": "canary-title-3"}, token=admin)
    await api.patch(path + "/complete", as_=ada)
    await api.patch(path + "/complete", as_=ada)
    operations: list[dict[str, object]] = [{"op": "create", "task": task}, {"op": "delete", "id": created.body["id"]}]
    assert (await api.post("/api/v1/tasks/batch", {"operations": operations}, as_=ada)).status == 200
    assert (await api.post("/api/v1/import", [task], as_=ada)).status == 200
    await api.get("/api/v1/tasks?q=canary-title&tag=canary-tag", as_=ada)
    await api.patch(f"/api/v1/users/{ada.id}", {"full_name": "canary-name"}, token=admin)
    refreshed = await api.post("/api/v1/auth/refresh", {"refresh_token": ada.refresh_token})
    outside = shared(secret=AUTH_SECRET, sub="somebody", email="canary-outside@example.com")
    await walk(api, ada, [ada.token, admin, outside, SESSION_TOKEN, SERVICE_TOKEN, "canary-query.wrong.token"])
    await api.post("/api/v1/auth/logout", {"refresh_token": signed_in.body["refresh_token"]})
    for old, new in ((OTHER_PASSWORD, PASSWORD), (PASSWORD, OTHER_PASSWORD)):
        await api.post("/api/v1/auth/password", {"current_password": old, "new_password": new}, as_=ada)
    await api.post("/api/v1/auth/logout", {"everywhere": True}, token=admin)
    last = await register(api, "canary-ada")
    assert (await api.send("DELETE", "/api/v1/auth/me", {"password": PASSWORD}, as_=last)).status == 204
    await break_it(api, url, await register(api, "canary-ada"), task)
    shown = [ada.token, ada.refresh_token, bob.token, bob.refresh_token, admin, outside, last.token]
    return shown + [refreshed.body[name] for name in ("access_token", "refresh_token")]


async def keep_keys(api: Api, url: str, provider: AiProvider) -> None:
    """Everything that can become of API keys, with a provider that repeats them."""
    path, ada = "/api/user-api-keys", await register(api, "canary-ada")
    service = {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": ada.id}
    for key, status in ((GOOD, 201), (BAD, 400), (SPENT, 201), (OTHER_GOOD + "\r\nCookie: a", 400), (OTHER_GOOD, 201)):
        for where in ("/test", ""):
            answer = await api.post(path + where, {"api_key": key}, as_=ada)
        assert answer.status == status, answer.raw
    await api.post(path, {"api_key": [GOOD], "provider": GOOD}, as_=ada)
    await api.get(f"{path}/current?provider={GOOD}", as_=ada)
    assert (await api.get(f"{path}/current", headers=service)).body["plaintext_key"] == OTHER_GOOD
    for way in (misbehaviour.echo(500), misbehaviour.echo(400), misbehaviour.dropped, misbehaviour.cut, always(302)):
        provider.answer = way
        assert (await api.post(path, {"api_key": GOOD}, as_=ada)).status == 502
    provider.answer = provider.judge
    await run_sql(url, "ALTER TABLE user_api_keys ADD CONSTRAINT odd CHECK (validation_status = 'valid') NOT VALID")
    assert (await api.post(path, {"api_key": SPENT}, as_=ada)).status == 500
    bob = await register(api, "canary-bob")
    assert (await api.post(path, {"api_key": GOOD}, as_=bob)).status == 201
    stolen = f"(SELECT ciphertext FROM user_api_keys WHERE user_id = '{ada.id}')"
    await run_sql(url, f"UPDATE user_api_keys SET ciphertext = {stolen} WHERE user_id = '{bob.id}'")
    assert (await api.get(f"{path}/current", as_=bob)).body["validation_status"] == "undecryptable"
    done = await run("reencrypt", DATABASE_URL=url, ENCRYPTION_KEY=ENCRYPTION_KEY)
    assert (done.returncode, "canary" in done.stdout + done.stderr) == (1, False)
    assert (await api.delete(f"{path}/current", as_=bob)).status == 200
    assert b"canary" not in (await api.get("/metrics")).raw


async def walk(api: Api, user: User, tokens: list[str]) -> None:
    """Ask everything of every route, well and badly, with every credential."""
    body = {
        "title": "canary-title", "email": "canary-ada@example.com", "password": OTHER_PASSWORD,
        "full_name": "canary-name", "refresh_token": SESSION_TOKEN,
        "current_password": OTHER_PASSWORD, "new_password": PASSWORD, "api_key": GOOD,
    }  # fmt: skip
    for route in ROUTES:
        if route.path.endswith("/users/{account_id}") and route.method != "GET":
            continue
        path = path_of(route.path, user.id, name="canary-query")
        for token in tokens:
            headers = {"Cookie": "token=canary-cookie", "X-User-ID": "somebody", "If-Match": '"canary-query"'}
            await api.send(route.method, path + "?token=canary-query%0a%1b[31m", token=token, headers=headers)
            if route.method != "GET":
                await api.send(route.method, path, body, token=token, headers=headers)
        await api.send(route.method, path, raw=json.dumps(body).encode()[:-9], token=tokens[0])
        await api.send(route.method, path, headers={"X-Service-Auth": SERVICE_TOKEN + "x", "X-User-ID": "canary-bob"})
    await api.get("/\u202ecanary-query%0d%0a", headers={"Authorization": "Basic canary-query", "Host": "canary-query"})
    reader = api.session.get(api.base, headers={"X-Canary": "canary-query", "Content-Length": "canary-query"})
    async with reader as answer:
        assert answer.status == 400


async def break_it(api: Api, url: str, user: User, task: dict[str, object]) -> None:
    """Let the database refuse what no check of ours refuses; its own words then hold the row."""
    for defect in DEFECTS:
        await run_sql(url, defect)
    assert (await api.post("/api/v1/tasks", task, as_=user)).status == 500
    for name, status in (("canary-zed1", 201), ("canary-zed2", 500)):
        another = {"email": f"{name}@example.com", "password": PASSWORD}
        assert (await api.post("/api/v1/auth/register", another)).status == status
    await run_sql(url, "ALTER TABLE users ADD CONSTRAINT named CHECK (full_name NOT LIKE 'canary%') NOT VALID")
    assert (await api.patch("/api/v1/auth/me", {"full_name": "canary-name"}, as_=user)).status == 500


@pytest.fixture(params=["INFO", "DEBUG"])
def level(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def said(level: str, postgres_url: str, file: Path) -> Said:
    async with temporary_database(postgres_url, template=template_name()) as url, ai_provider() as provider:
        await run_sql(
            url, f"""INSERT INTO user_sessions (id, token, "userId", "expiresAt")
            VALUES ('1', '{SESSION_TOKEN}', 'somebody', now() + interval '1 hour')"""
        )  # fmt: skip
        with file.open("wb") as output:
            async with served(
                output=output, DATABASE_URL=url, LOG_LEVEL=level, DEBUG=str(level == "DEBUG"),
                SECRET_KEY="canary-secret-key-0123456789-abcdefghij", SERVICE_AUTH_TOKEN=SERVICE_TOKEN,
                BETTER_AUTH_SECRET=AUTH_SECRET, SESSION_TOKEN_STORAGE="plain", DATABASE_ECHO="true",
                REDIS_URL="redis://:canary-redis-password@127.0.0.1:1/0", GEMINI_BASE_URL=provider.url,
                ENCRYPTION_KEY=ENCRYPTION_KEY,
            ) as (process, api):  # fmt: skip
                await keep_keys(api, url, provider)
                tokens = await converse(api, url)
                process.terminate()
                await process.wait()
        kept = "\n".join([row async for row in _rows(url)])
    for secret in (PASSWORD, OTHER_PASSWORD, SERVICE_TOKEN, AUTH_SECRET, *tokens):
        assert secret not in kept
    for key in (*KEYS, ENCRYPTION_KEY):
        assert key not in kept
        assert key.encode().hex() not in kept
    assert ",gAAAA" in kept
    password = urlsplit(postgres_url).password
    assert password is not None
    return Said(await asyncio.to_thread(file.read_text), [*tokens, password])


async def _rows(url: str) -> Any:
    db = await asyncpg.connect(url)
    try:
        for table in await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            for row in await db.fetch(f'SELECT t::text FROM "{table[0]}" AS t'):
                yield row[0]
    finally:
        await db.close()


async def test_no_secret_and_no_word_is_ever_logged(level: str, postgres_url: str, tmp_path: Path) -> None:
    log = await said(level, postgres_url, tmp_path / "log")
    for canary in (*SECRETS, *WORDS, "canary-", *log.secrets):
        assert canary not in log.output, next(line for line in log.output.splitlines() if canary in line)
    assert {entry["event"] for entry in log.entries} >= EVENTS
    assert all(line.startswith("{") for line in log.output.splitlines() if "event" in line)
    _assert_defects_are_told(log)
    _assert_changes_are_told(log)


def _assert_defects_are_told(log: Said) -> None:
    tracebacks = [entry["exception"] for entry in log.entries if entry["event"] == "defect"]
    assert all(text.startswith("Traceback (most recent call last):") for text in tracebacks)
    for told in ("constraint_name=surprise", "sqlstate=23505", "table_name=users constraint_name=named"):
        assert any(told in text for text in tracebacks), [text.splitlines()[-1] for text in tracebacks]
    assert all(entry["request_id"] for entry in log.entries if entry["event"] == "defect")


def _assert_changes_are_told(log: Said) -> None:
    changes = [entry for entry in log.entries if entry["event"].startswith("task_")]
    assert all({"task_id", "user_id", "request_id", "level", "timestamp"} <= set(entry) for entry in changes)
    by_others = [entry for entry in changes if "actor_id" in entry]
    assert [entry["event"] for entry in by_others] == ["task_updated"]
    assert by_others[0]["actor_id"] != by_others[0]["user_id"]
    refused = {entry["problem"] for entry in log.entries if entry["event"] == "request"}
    assert {None, "unauthenticated", "validation-error", "not-found", "forbidden", "internal-error"} <= refused


async def test_only_what_was_committed_is_told(api: Api, ada: User, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    operations = [{"op": "create", "task": {"title": "t"}}, {"op": "delete", "id": str(uuid4())}]
    assert (await api.post("/api/v1/tasks/batch", {"operations": operations}, as_=ada)).status == 404
    assert "task_created" not in capfd.readouterr().out
    for _ in range(2):
        await api.post("/api/v1/tasks", {"title": "t"}, as_=ada, headers={"Idempotency-Key": "k"})
    assert capfd.readouterr().out.count("task_created") == 1


SCRIPT = """
import asyncio, logging, sys
from todo_service.observability import logs
from todo_service.config.settings import Settings
import structlog

logs.configure(Settings(_env_file=None))
log = structlog.get_logger()

async def fail(secret):
    raise ValueError(f"{secret}")

async def main():
    asyncio.get_running_loop().set_exception_handler(logs.log_loop_error)
    asyncio.create_task(fail("canary"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    import gc; gc.collect()
    try:
        await fail("canary")
    except ValueError:
        logging.getLogger("library").exception("failed")
        log.exception("failed_too")

asyncio.run(main())
log.info("strange", half="\\ud800", long=2**70, set={1}, new="a\\nb\\x1b[31m\\u2028")
logging.getLogger("library").info("not told")
log.debug("not told")
"""


def run_script(*, terminal: bool) -> str:
    prepared = "import sys; sys.stdout.isatty = lambda: True\n" if terminal else ""
    done = subprocess.run([sys.executable, "-c", prepared + SCRIPT], cwd=ROOT, capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode(errors="replace")


def lines(text: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in text.splitlines())


def test_every_line_is_json_whoever_writes_it() -> None:
    text = run_script(terminal=False)
    unhandled, library, ours, strange = lines(text)
    assert (unhandled["event"], unhandled["level"]) == ("unhandled", "error")
    assert (library["event"], library["logger"]) == ("failed", "library")
    assert (ours["event"], ours["level"]) == ("failed_too", "error")
    for entry in (unhandled, library, ours):
        assert entry["exception"].startswith("Traceback (most recent call last):")
        assert "in fail" in entry["exception"]
        assert entry["timestamp"].endswith("Z")
    assert (strange["long"], strange["new"]) == (2**70, "a\nb\x1b[31m\u2028")
    assert "canary" not in text


def test_a_terminal_shows_tracebacks_without_the_values_of_variables() -> None:
    text = run_script(terminal=True)
    assert text.count("Traceback (most recent call last):") == 3
    assert "secret = " not in text
    assert "canary" not in text.replace('"canary"', "")
