"""The audit log: its entries, its list for administrators, and the chain that shows every change of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
import structlog
from structlog.testing import LogCapture

from tests.client import PASSWORD, Api, User
from tests.commands.test_users import run
from tests.conftest import (
    SERVING_ROLE,
    as_serving_role,
    make_settings,
    run_sql,
    running_service,
    template_name,
    temporary_database,
)
from tests.routes.test_sessions import only_administrators, refresh, rows, sign_in
from todo_service.auth import audit as auth_audit
from todo_service.auth.audit import AuditSealer
from todo_service.commands.command import audit_entry
from todo_service.config.database_options import database_options
from todo_service.postgres.database import Database
from todo_service.queries import audit_log

AUDIT = "/api/v1/audit"
KEY = "a-key-for-seals-0123456789-abcdefghij"
OLD_KEY = "an-older-key-for-seals-9876543210-zyxw"


@pytest_asyncio.fixture
async def admin(api: Api, database_url: str) -> AsyncIterator[User]:
    user = await api.new_user()
    async with only_administrators(database_url, user):
        yield User(user.id, user.email, (await sign_in(api, user))["access_token"])


async def actions(api: Api, admin: User, query: str) -> list[str]:
    entries = (await api.get(f"{AUDIT}?{query}", as_=admin)).body["entries"]
    return [entry["action"] for entry in reversed(entries)]


async def test_an_account_s_history_is_there_from_its_first_day_to_its_last(api: Api, admin: User, ada: User) -> None:
    login = {"email": ada.email, "password": PASSWORD}
    assert (await api.post("/api/v1/auth/login", login | {"password": "wrong horse 9"})).status == 401
    signed_in = (await api.post("/api/v1/auth/login", login)).body
    change = {"current_password": PASSWORD, "new_password": "better horse 10"}
    assert (await api.post("/api/v1/auth/password", change, as_=ada)).status == 204
    await api.post("/api/v1/auth/logout", {"refresh_token": ada.refresh_token})
    new = (await sign_in(api, ada, "better horse 10"))["access_token"]
    await api.post("/api/v1/auth/logout", {"everywhere": True}, token=new)
    assert signed_in["user"]["id"] == ada.id
    again = (await sign_in(api, ada, "better horse 10"))["access_token"]
    assert (await api.send("DELETE", "/api/v1/auth/me", {"password": "better horse 10"}, token=again)).status == 204
    found = await actions(api, admin, f"subject_id={ada.id}")
    assert found == [
        "registered", "signed_in", "sign_in_failed", "signed_in", "password_changed", "signed_out", "signed_in",
        "signed_out_everywhere", "signed_in", "account_deleted",
    ]  # fmt: skip


async def test_a_stolen_refresh_token_is_an_entry(database_url: str, api: Api, admin: User) -> None:
    async with running_service(make_settings(database_url, refresh_reuse_seconds=0)) as strict:
        ada = await strict.new_user()
        await refresh(strict, ada.refresh_token)
        await refresh(strict, ada.refresh_token)
    assert (await actions(api, admin, f"subject_id={ada.id}"))[-1] == "refresh_token_reused"


async def test_everything_an_administrator_reads_of_others_is_an_entry(api: Api, admin: User, ada: User) -> None:
    task = (await api.post("/api/v1/tasks", {"title": "ada's"}, as_=ada)).body
    own = (await api.post("/api/v1/tasks", {"title": "own"}, as_=admin)).body
    for path in (
        f"/api/v1/tasks/{task['id']}", f"/api/v1/tasks?user_id={ada.id}", f"/api/v1/users/{ada.id}", "/api/v1/tasks",
        "/api/v1/users", AUDIT, f"/api/v1/tasks/{own['id']}", f"/api/v1/tasks?user_id={admin.id}", "/api/tasks",
    ):  # fmt: skip
        assert (await api.get(path, as_=admin)).status == 200, path
    entries = (await api.get(f"{AUDIT}?actor_id={admin.id}&limit=6", as_=admin)).body["entries"]
    assert [(entry["action"], entry["subject_id"]) for entry in reversed(entries)] == [
        ("task_read", ada.id), ("tasks_listed", ada.id), ("user_read", ada.id), ("tasks_listed", "*"),
        ("users_listed", "*"), ("audit_log_read", "*"),
    ]  # fmt: skip
    assert {entry["address"] for entry in entries} == {"127.0.0.1"}
    assert entries[-1]["detail"] == task["id"]


async def test_the_list_is_for_administrators_filtered_and_paged(api: Api, admin: User, ada: User) -> None:
    assert (await api.get(AUDIT)).status == 401
    refused = await api.get(AUDIT, as_=ada)
    assert (refused.status, refused.problem()) == (403, "admin-only")
    for _ in range(3):
        await api.post("/api/v1/auth/login", {"email": ada.email, "password": "wrong horse 9"})
    query = f"subject_id={ada.id}&action=sign_in_failed&since=2020-01-01T00:00:00Z&until=2999-01-01T00:00:00Z"
    seen, path = [], f"{AUDIT}?{query}&limit=2"
    first = await api.get(path, as_=admin)
    seen += first.body["entries"]
    assert f"cursor={first.body['next_cursor']}" in first.headers["Link"]
    second = await api.get(f"{path}&cursor={first.body['next_cursor']}", as_=admin)
    seen += second.body["entries"]
    assert (len({entry["id"] for entry in seen}), second.body["next_cursor"]) == (3, None)
    assert {entry["detail"] for entry in seen} == {"wrong password"}
    assert (await actions(api, admin, f"subject_id={ada.id}&since=2999-01-01T00:00:00Z")) == []
    assert set(await actions(api, admin, "action=sign_in_failed&limit=100")) == {"sign_in_failed"}
    unknown = await api.post("/api/v1/auth/login", {"email": "unknown@example.com", "password": "wrong horse 9"})
    [entry] = (await api.get(f"{AUDIT}?subject_id=-&limit=1", as_=admin)).body["entries"]
    assert (entry["request_id"], entry["detail"]) == (unknown.headers["X-Request-ID"], "unknown email")
    assert "unknown@example.com" not in str(entry)
    for wrong in ("limit=0", "cursor=x", "since=yesterday", "subject_id=", "action=%00", "cursor=-1"):
        assert (await api.get(f"{AUDIT}?{wrong}", as_=admin)).status == 422, wrong


@asynccontextmanager
async def sealed(postgres_url: str, *, entries: int = 5) -> AsyncIterator[tuple[str, Database]]:
    """A database with some sealed entries."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        database = Database(database_options(make_settings(as_serving_role(url))))
        await database.open()
        async with database.connection() as db:
            for number in range(entries):
                await audit_log.insert(db, audit_entry("signed_in", f"Ädä {number}"), subject_id=f"user {number}")
        assert await AuditSealer(database, key=KEY).seal_some() == entries
        yield url, database
        await database.close()


async def verify(url: str, *heads: str, key: str = KEY) -> tuple[int, str]:
    options = [option for head in heads for option in ("--head", head)]
    done = await run("audit", "verify", *options, DATABASE_URL=url, AUDIT_KEY=key)
    return done.returncode, done.stdout + done.stderr


async def head_of(url: str) -> str:
    sql = "SELECT sequence || ':' || encode(seal, 'hex') FROM audit_log ORDER BY sequence DESC LIMIT 1"
    [row] = await rows(url, sql)
    return str(row[0])


async def test_an_untouched_chain_is_verified_and_grows(postgres_url: str) -> None:
    async with sealed(postgres_url) as (url, database):
        first = await head_of(url)
        assert await verify(url, first) == (0, "5 entries are as they were written\n")
        async with database.connection() as db:
            await audit_log.insert(db, audit_entry("signed_in", "a"), subject_id="a")
        assert (await verify(url))[1] == "5 entries are as they were written; 1 not sealed yet\n"
        sealers = [AuditSealer(database, key=KEY) for _ in range(4)]
        assert sum(await asyncio.gather(*(sealer.seal_some() for sealer in sealers))) == 1, "one process at a time"
        assert (await verify(url, first, await head_of(url)))[0] == 0
        exported = await run("audit", "export", "--subject", "user 3", DATABASE_URL=url)
        [entry] = [json.loads(line) for line in exported.stdout.splitlines()]
        assert (entry["actor_id"], entry["sequence"], len(entry["seal"])) == ("Ädä 3", 4, 64)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE audit_log SET detail = 'x' WHERE sequence = 3", "Entry 3 "),
        ("UPDATE audit_log SET at = at + interval '1 microsecond' WHERE sequence = 1", "Entry 1 "),
        ("UPDATE audit_log SET address = '192.0.2.1' WHERE sequence = 5", "Entry 5 "),
        ("DELETE FROM audit_log WHERE sequence = 2", "Entry 2 is missing"),
        ("DELETE FROM audit_log WHERE sequence = 1", "begins at 2"),
        ("UPDATE audit_log SET sequence = 9 - sequence WHERE sequence IN (4, 5)", "Entry 4 "),
        ("UPDATE audit_log SET seal = sha256('') WHERE sequence = 5", "Entry 5 "),
        ("DELETE FROM audit_log WHERE sequence = 5", "ends at 4, before the head 5"),
        ("DELETE FROM audit_log", "ends at 0, before the head 5"),
    ],
)
async def test_each_change_of_the_past_is_seen(postgres_url: str, change: str, reason: str) -> None:
    async with sealed(postgres_url) as (url, _):
        head = await head_of(url)
        await run_sql(url, change)
        status, text = await verify(url, head)
        assert (status, reason in text) == (1, True), text


async def test_without_its_key_the_chain_is_not_continued(postgres_url: str) -> None:
    async with sealed(postgres_url) as (url, database):
        async with database.connection() as db:
            await audit_log.insert(db, audit_entry("signed_in", "forged"), subject_id="a")
        await AuditSealer(database, key="a-key-of-somebody-else-0123456789-abc").seal_some()
        assert "Entry 6 " in (await verify(url))[1]
        assert (await run("audit", "verify", DATABASE_URL=url)).returncode == 1, "there is no key"
        assert (await verify(url, key="short"))[0] == 2


async def test_the_key_rotates(postgres_url: str) -> None:
    async with sealed(postgres_url) as (url, database):
        async with database.connection() as db:
            await audit_log.insert(db, audit_entry("signed_in", "a"), subject_id="a")
        await AuditSealer(database, key=OLD_KEY).seal_some()
        assert (await verify(url, key=f"{OLD_KEY},{KEY}"))[0] == 0
        assert (await verify(url, key=OLD_KEY))[0] == 1


async def test_the_role_that_serves_deletes_no_entry(postgres_url: str) -> None:
    async with sealed(postgres_url) as (url, _):
        await run_sql(url, "UPDATE audit_log SET at = at - interval '400 days'")
        kept = await run("purge", DATABASE_URL=as_serving_role(url), AUDIT_KEY=KEY)
        assert (kept.returncode, "as the owner" in kept.stderr) == (0, True)
        forever = await run("purge", DATABASE_URL=url, AUDIT_RETENTION_DAYS="0")
        assert (forever.returncode, "audit log" in forever.stdout + forever.stderr) == (0, False)
        unsigned = await run("purge", DATABASE_URL=url)
        assert (unsigned.returncode, "AUDIT_KEY is needed" in unsigned.stderr) == (0, True)
        assert len(await rows(url, "SELECT FROM audit_log")) == 5


@asynccontextmanager
async def old_chain(postgres_url: str, *, old: int, new: int) -> AsyncIterator[tuple[str, AuditSealer]]:
    """A database with sealed entries, so many of them older than a year; and its sealer."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        database = Database(database_options(make_settings(url)))
        await database.open()
        async with database.connection() as db:
            for number in range(old + new):
                await audit_log.insert(db, audit_entry("signed_in", "a"), subject_id=str(number))
        await run_sql(url, f"UPDATE audit_log SET at = at - interval '400 days' WHERE subject_id::int < {old}")
        sealer = AuditSealer(database, key=KEY)
        await sealer.seal_some()
        yield url, sealer
        await database.close()


async def test_a_verification_after_a_purge_begins_where_it_ended(postgres_url: str) -> None:
    async with old_chain(postgres_url, old=3, new=3) as (url, sealer):
        for _ in range(2):
            assert (await run("purge", "--batch", "2", DATABASE_URL=url, AUDIT_KEY=KEY)).returncode == 0
            assert (await verify(url))[0] == 0, "also before the purge's own entry is sealed"
        await sealer.seal_some()
        assert (await verify(url))[0] == 0
        assert (await rows(url, "SELECT min(sequence) FROM audit_log"))[0][0] == 4
        await run_sql(url, "DELETE FROM audit_log WHERE sequence = 4")
        assert "begins at 5" in (await verify(url))[1]


async def test_a_purge_of_all_that_is_sealed_leaves_the_head(postgres_url: str) -> None:
    async with old_chain(postgres_url, old=4, new=0) as (url, sealer):
        assert "3 audit log entries deleted\n" in (await run("purge", DATABASE_URL=url, AUDIT_KEY=KEY)).stdout
        await sealer.seal_some()
        assert (await verify(url))[0] == 0
        assert [row[0] for row in await rows(url, "SELECT sequence FROM audit_log ORDER BY id")] == [4, 5]


async def test_purges_and_sealers_at_once_keep_the_chain(postgres_url: str) -> None:
    async with old_chain(postgres_url, old=40, new=2) as (url, sealer):
        await run_sql(url, "UPDATE audit_log SET sequence = NULL, seal = NULL WHERE sequence > 5")
        purges = [run("purge", "--batch", "7", DATABASE_URL=url, AUDIT_KEY=KEY) for _ in range(3)]
        await asyncio.gather(*purges, *(sealer.seal_some() for _ in range(5)))
        while await sealer.seal_some():
            pass
        assert await verify(url) == (0, (await verify(url))[1])


async def test_a_purge_that_none_of_our_keys_has_signed_is_a_break(postgres_url: str) -> None:
    async with old_chain(postgres_url, old=0, new=4) as (url, sealer):
        [row] = await rows(url, "SELECT sequence, encode(seal, 'hex') FROM audit_log WHERE sequence = 2")
        await run_sql(url, "DELETE FROM audit_log WHERE sequence <= 2")
        columns = "(action, actor_id, subject_id, request_id, detail)"
        note = f"INSERT INTO audit_log {columns} VALUES ('audit_purged', 'x', '*', 'r',"
        for detail in (f"{row[0]} {row[1]} {'0' * 64}", "x", "", "1 zz zz"):
            await run_sql(url, f"{note} '{detail}')")
            status, text = await verify(url)
            assert (status, "no purge has made" in text) == (1, True)
            await run_sql(url, "DELETE FROM audit_log WHERE action = 'audit_purged'")
        await sealer.seal_some()


async def test_rights_that_are_missing_for_sealing_are_logged(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = LogCapture()
    monkeypatch.setattr(auth_audit, "log", structlog.wrap_logger(structlog.PrintLogger(), processors=[capture]))
    monkeypatch.setattr(auth_audit, "SEAL_SECONDS", 0.05)
    async with temporary_database(postgres_url, template=template_name()) as url:
        await run_sql(url, f"REVOKE UPDATE (sequence, seal) ON audit_log FROM {SERVING_ROLE}")
        async with running_service(make_settings(as_serving_role(url), audit_key=KEY)) as api:
            await api.new_user()
            async with asyncio.timeout(5):
                while not any(line["event"] == "audit_log_not_sealed" for line in capture.entries):
                    await asyncio.sleep(0.05)
    assert "migrate grants" in next(line["remedy"] for line in capture.entries if "remedy" in line)


async def test_the_service_seals_and_logs_the_head(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = LogCapture()
    monkeypatch.setattr(auth_audit, "log", structlog.wrap_logger(structlog.PrintLogger(), processors=[capture]))
    monkeypatch.setattr(auth_audit, "SEAL_SECONDS", 0.05)
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        running_service(make_settings(as_serving_role(url), audit_key=KEY)) as api,
    ):
        await api.new_user()
        async with asyncio.timeout(5):
            while await rows(url, "SELECT FROM audit_log WHERE sequence IS NULL") or not capture.entries:
                await asyncio.sleep(0.05)
        [line] = capture.entries
        assert line["event"] == "audit_log_head"
        assert (await verify(url, line["head"]))[0] == 0
