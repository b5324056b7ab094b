"""G1 to G9: the log, errors, settings, and what else can be fetched."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from tests.attacks.raw import ask, post
from tests.client import Api, User
from tests.conftest import SECRET_KEY
from tests.process import served
from tests.routes.test_sessions import rows
from todo_service.config.settings import ROOT, Settings, SettingsError

NASTY = "a\r\nSet-Cookie: x=1\x1b[31m%0a\"}{'"


async def test_g1_and_g2_one_line_each_without_a_secret(database_url: str, tmp_path: Path) -> None:
    password = f"canary {uuid4().hex}"
    with (tmp_path / "log").open("wb") as output:
        async with served(output=output, DATABASE_URL=database_url, LOG_LEVEL="DEBUG") as (_, api):
            account = {"email": f"canary{uuid4().hex}@example.com", "password": password}
            await post(api, "/api/v1/auth/register", account)
            tokens = (await post(api, "/api/v1/auth/login", account)).json
            bearer = [("Authorization", f"Bearer {tokens['access_token']}")]
            await post(api, "/api/v1/tasks", {"title": f"canary {NASTY}"}, bearer)
            await ask(api, "GET", "/api/v1/tasks/%0d%0acanary?q=canary%0a", [("User-Agent", "canary\t"), *bearer])
            await ask(api, "GET", "/x", [("X-Request-ID", "canary\tx"), ("Cookie", "canary")])
    text = (tmp_path / "log").read_text()
    for secret in (password, tokens["access_token"], tokens["refresh_token"], SECRET_KEY, "canary"):
        assert secret not in text
    for line in text.splitlines():
        if line.startswith("{"):
            assert json.loads(line)["event"]
    assert "\x1b" not in text


async def test_g3_a_defect_is_a_bare_500(service: Api, eve: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async def defect(*_: object, **__: object) -> None:
        raise RuntimeError("canary: SELECT password_hash FROM users")

    monkeypatch.setattr("todo_service.queries.changes.select_page", defect)
    reply = await ask(service, "GET", "/api/v1/sync", as_=eve)
    assert (reply.status, reply.problem()) == (500, "internal-error")
    for word in (b"canary", b"RuntimeError", b"SELECT", b".py"):
        assert word not in reply.body


async def test_g4_security_events_are_in_the_audit_log(service: Api, eve: User, database_url: str) -> None:
    await post(service, "/api/v1/auth/login", {"email": eve.email, "password": "wrong horse 9"})
    entries = await rows(
        database_url, "SELECT action, address, request_id, at FROM audit_log WHERE subject_id = $1", eve.id
    )
    assert {"registered", "signed_in", "sign_in_failed"} <= {entry["action"] for entry in entries}
    assert all(entry["address"] and entry["request_id"] and entry["at"].tzinfo for entry in entries)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "true"), ("SECRET_KEY", "changeme-changeme-changeme-changeme"), ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://x/path"), ("BCRYPT_ROUNDS", "4"), ("JWKS_URL", "http://auth.example.com/jwks"),
        ("GEMINI_BASE_URL", "http://x"), ("TRUSTED_PROXIES", "0.0.0.0/0"), ("DATABASE_URL", ""), ("ALGORITHM", "none"),
    ],
)  # fmt: skip
def test_g5_production_does_not_start_open(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = {
        "ENVIRONMENT": "production", "SECRET_KEY": "kZ8v1Qm4x7Tn2Wb6Yc9Lr3Pd5Hs0JgAfUeIoXqMw",
        "DATABASE_URL": "postgresql://u:p@127.0.0.1/todo",
    }  # fmt: skip
    for setting, text in (sound | {name: value}).items():
        monkeypatch.setenv(setting, text)
    with pytest.raises(SettingsError, match=name) as caught:
        Settings.load()
    assert not value or value in {"true", "*", "4", "none"} or value not in str(caught.value)


async def test_g6_labels_do_not_grow_with_paths(service: Api, eve: User) -> None:
    async def series() -> int:
        return (await ask(service, "GET", "/metrics")).body.count(b"\n")

    await ask(service, "GET", "/x")
    before = await series()
    for _ in range(200):
        await ask(service, "GET", f"/{uuid4()}", as_=eve)
        await ask(service, "GET", f"/api/v1/tasks/{uuid4()}", as_=eve)
    assert await series() <= before + 60
    assert eve.id.encode() not in (await ask(service, "GET", "/metrics")).body


async def test_g7_nothing_else_is_served(service: Api) -> None:
    for path in (
        "/.git/config",
        "/.env",
        "/requirements.txt",
        "/todo_service/app.py",
        "/assets/",
        "/static/",
        "/debug",
    ):
        assert (await ask(service, "GET", path)).status == 404


def test_g8_every_dependency_is_pinned_by_hash() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-serve.txt"):
        blocks = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
        pinned = [line for line in blocks if "==" in line and not line.startswith("#")]
        assert len(pinned) > 5
        assert all("--hash=sha256:" in line for line in pinned), name
