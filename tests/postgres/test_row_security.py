"""Row-level security: with it on, everything works as without, and a statement that forgets its owner finds nothing."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.client import Api, User
from tests.commands.test_users import run
from tests.conftest import (
    as_serving_role,
    make_settings,
    run_sql,
    running_service,
    template_name,
    temporary_database,
)
from tests.families import Dialect, in_every_family
from tests.provider import GOOD, ai_provider
from tests.routes.test_sessions import only_administrators, rows, sign_in
from todo_service.config.settings import Settings, SettingsError
from todo_service.postgres import row_security
from todo_service.queries import (
    changes,
    clocks,
    idempotency_keys,
    task_changes,
    task_lists,
    tasks,
    transfers,
    undo,
    user_api_keys,
)

MODULES = (tasks, task_lists, clocks, changes, transfers, idempotency_keys, user_api_keys, task_changes, undo)
OWNER = re.compile(
    r"(?:\w+\.)?user_id = (?:\$1|owner\.id)\b|(?:\w+\.)?user_id = ANY \(\$1::text\[\]\)|"
    r"AS key \(user_id, id\) JOIN tasks USING \(user_id, id\)"
)
CANARY = "bob's canary"


@pytest_asyncio.fixture(scope="module")
async def url(postgres_url: str) -> AsyncIterator[str]:
    """A database with row-level security on."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        done = await run("migrate", "row-security", "on", DATABASE_URL=url)
        assert (done.returncode, done.stderr) == (0, "")
        yield url


@asynccontextmanager
async def locked(url: str, *, is_on: bool = True) -> AsyncIterator[Api]:
    """The service as the role that serves, with a provider of AI."""
    role_url = as_serving_role(url)
    async with ai_provider() as provider:
        settings = make_settings(role_url, row_level_security=is_on, gemini_base_url=provider.url)
        async with running_service(settings) as api:
            yield api


async def everything(api: Api, user: User, task_id: str) -> list[Any]:
    """The answers to every kind of request about tasks, some of them under the id of another user's task."""
    batch = [{"op": "create", "task": {"title": "b"}}, {"op": "update", "id": task_id, "task": {"title": "stolen"}}]
    key = {"Idempotency-Key": "one"}
    requests: list[tuple[str, str, Any, Mapping[str, str]]] = [
        ("GET", "/api/v1/tasks", None, {}), ("GET", "/api/tasks", None, {}),
        ("GET", "/api/v1/tasks?q=canary", None, {}),
        ("GET", f"/api/{user.id}/tasks?sort=title", None, {}), ("GET", "/api/v1/tasks?sort=priority&limit=1", None, {}),
        ("GET", f"/api/v1/tasks/{task_id}", None, {}), ("GET", "/api/v1/sync", None, {}),
        ("GET", "/api/v1/export", None, {}), ("GET", "/api/user-api-keys/current", None, {}),
        ("PATCH", f"/api/v1/tasks/{task_id}", {"title": "stolen"}, {}),
        ("PATCH", f"/api/v1/tasks/{task_id}/complete", None, {}),
        ("POST", "/api/v1/tasks", {"title": "own", "id": task_id}, {}), ("POST", "/api/v1/tasks", {"title": "x"}, key),
        ("POST", "/api/v1/tasks/batch", {"operations": batch}, {}),
        ("POST", "/api/v1/import", {"tasks": [{"title": "i"}]}, {}),
        ("GET", f"/api/v1/tasks/{task_id}/history", None, {}), ("GET", "/api/v1/trash", None, {}),
        ("POST", f"/api/v1/tasks/{task_id}/restore", None, {}), ("POST", "/api/v1/undo", {"to_version": 0}, {}),
        ("DELETE", f"/api/v1/tasks/{task_id}", None, {}), ("DELETE", "/api/user-api-keys/current", None, {}),
        ("DELETE", "/api/v1/history", None, {}),
    ]  # fmt: skip
    return [
        await api.send(method, path, *([] if body is None else [body]), as_=user, headers=headers)
        for method, path, body, headers in requests
    ]


@pytest.mark.parametrize("is_admin", [False, True])
async def test_everything_is_as_without_it(postgres_url: str, is_admin: bool) -> None:
    """The same requests of a user, or an administrator, with the same answers but for ids and moments."""

    async def told(url: str, *, is_on: bool) -> list[tuple[int, int]]:
        async with locked(url, is_on=is_on) as api:
            bob, ada = await api.new_user(), await api.new_user()
            task = (await api.post("/api/v1/tasks", {"title": CANARY}, as_=bob)).body
            await api.post("/api/user-api-keys", {"api_key": GOOD}, as_=ada)
            async with only_administrators(url, *([ada] if is_admin else [])):
                if is_admin:
                    ada = User(ada.id, ada.email, (await sign_in(api, ada))["access_token"])
                answers = await everything(api, ada, task["id"])
            return [(answer.status, re.sub("[0-9]", "", answer.raw.decode()).count(CANARY)) for answer in answers]

    async with (
        temporary_database(postgres_url, template=template_name()) as plain,
        temporary_database(postgres_url, template=template_name()) as url,
    ):
        assert (await run("migrate", "row-security", "on", DATABASE_URL=url)).returncode == 0
        assert await told(url, is_on=True) == await told(plain, is_on=False)


@in_every_family
async def test_tasks_of_every_family(url: str, family: Dialect) -> None:
    async with locked(url) as api:
        ada, bob = await api.new_user(), await api.new_user()
        made = await api.post(family.tasks(ada), {"title": "t"}, as_=ada)
        assert made.status == 201
        listed = family.unwrap((await api.get(family.tasks(ada), as_=ada)).body)
        assert [task["id"] for task in listed] == [made.body["id"]]
        assert (await api.get(f"/api/v1/tasks/{made.body['id']}", as_=bob)).status == 404


def mutations() -> Iterator[tuple[Any, str, str | None, str, int]]:
    """Each place of an owner in each statement: its module, the constant, the variant, the text, and the place."""
    for module in MODULES:
        for name, constant in vars(module).items():
            if not name.isupper() or name.startswith("_") or "ANY_OWNER" in name:
                continue
            variants = constant.items() if isinstance(constant, Mapping) else [(None, constant)]
            for variant, sql in variants:
                if isinstance(sql, str) and (variant is None or variant in {"-created_at", "-created_at filtered"}):
                    for place in range(len(OWNER.findall(sql))):
                        yield module, name, variant, sql, place


def without(sql: str, place: int) -> str:
    """The statement without one of its owners."""
    found = list(OWNER.finditer(sql))[place]
    instead = "(true OR $1::text[] IS NULL)" if "ANY" in found[0] else "(true OR $1::text IS NULL)"
    instead = "AS key (owner, id) JOIN tasks USING (id)" if "JOIN" in found[0] else instead
    return sql[: found.start()] + instead + sql[found.end() :]


@asynccontextmanager
async def mutated(module: Any, name: str, variant: str | None, sql: str) -> AsyncIterator[None]:
    constant = getattr(module, name)
    setattr(module, name, sql if variant is None else {**constant, variant: sql})
    try:
        yield
    finally:
        setattr(module, name, constant)


async def leaks(url: str, *, is_on: bool) -> list[str]:
    """The mutations after which something of Bob's is in an answer, or something of his has changed."""
    leaky = []
    async with locked(url, is_on=is_on) as api:
        bob = await api.new_user()
        task = (await api.post("/api/v1/tasks", {"title": CANARY}, as_=bob, headers={"Idempotency-Key": "one"})).body
        other = (await api.post("/api/v1/tasks", {"title": f"{CANARY} 2"}, as_=bob)).body
        await api.patch(f"/api/v1/tasks/{task['id']}", {"priority": "LOW"}, as_=bob)
        await api.delete(f"/api/v1/tasks/{other['id']}", as_=bob)
        await api.post("/api/user-api-keys", {"api_key": GOOD}, as_=bob)
        state = """SELECT (SELECT json_agg(t ORDER BY id) FROM tasks AS t WHERE user_id = $1)::text,
            (SELECT json_agg(c) FROM task_clocks AS c WHERE user_id = $1)::text,
            (SELECT count(*) FROM user_api_keys WHERE user_id = $1)"""
        before = [tuple(row) for row in await rows(url, state, bob.id)]
        for module, name, variant, sql, place in mutations():
            ada = await api.new_user()
            await api.post("/api/v1/tasks", {"title": "ada's"}, as_=ada)
            api.as_described = False
            async with mutated(module, name, variant, without(sql, place)):
                answers = await everything(api, ada, task["id"])
            after = [tuple(row) for row in await rows(url, state, bob.id)]
            seen = any(CANARY in answer.raw.decode() for answer in answers)
            if seen or after != before:
                leaky.append(f"{module.__name__}.{name} {variant} {place}")
                before = after
    return leaky


async def test_a_statement_that_forgets_its_owner_finds_nothing_of_others(url: str, postgres_url: str) -> None:
    assert len(list(mutations())) > 30
    assert await leaks(url, is_on=True) == []
    async with temporary_database(postgres_url, template=template_name()) as plain:
        assert len(await leaks(plain, is_on=False)) >= 8, "without the second lock they do find it"


async def test_nothing_is_seen_before_the_users_are_told(url: str) -> None:
    await run_sql(url, "INSERT INTO users (id) VALUES ('without a clock') ON CONFLICT DO NOTHING")
    db = await asyncpg.connect(as_serving_role(url))
    try:
        for table in row_security.TABLES:
            assert await db.fetchval(f"SELECT count(*) FROM {table}") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute("INSERT INTO task_clocks (user_id) VALUES ('without a clock')")
        assert await row_security.is_as_set(db, is_on=True)
    finally:
        await db.close()


async def test_serving_without_the_lock_in_force_is_not_ready(url: str, postgres_url: str) -> None:
    async with running_service(make_settings(url, row_level_security=True)) as as_owner:
        answer = await as_owner.get("/health/ready")
        assert (answer.status, "bin/migrate row-security on" in answer.body["reason"]) == (503, True)
    async with temporary_database(postgres_url, template=template_name()) as plain, locked(plain) as api:
        assert (await api.get("/health/ready")).status == 503
        done = await run("migrate", "row-security", "on", DATABASE_URL=plain)
        assert done.returncode == 0
        assert (await api.get("/health/ready")).status == 200
        async with locked(plain, is_on=False) as unaware:
            answer = await unaware.get("/health/ready")
            assert (answer.status, "hides every task" in answer.body["reason"]) == (503, True)
        assert (await run("migrate", "row-security", "off", DATABASE_URL=plain)).returncode == 0


def test_it_needs_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@127.0.0.1/todo?pgbouncer=true")
    monkeypatch.setenv("ROW_LEVEL_SECURITY", "on")
    with pytest.raises(SettingsError, match="ROW_LEVEL_SECURITY: needs sessions"):
        Settings.load()


async def test_an_administrator_sees_all_on_connections_that_are_new(postgres_url: str) -> None:
    async with temporary_database(postgres_url, template=template_name()) as url:
        assert (await run("migrate", "row-security", "on", DATABASE_URL=url)).returncode == 0
        settings = make_settings(as_serving_role(url), row_level_security=True, database_pool_min=0)
        async with running_service(settings) as api:
            bob, root = await api.new_user(), await api.new_user()
            await api.post("/api/v1/tasks", {"title": "t"}, as_=bob)
            async with only_administrators(url, root):
                root = User(root.id, root.email, (await sign_in(api, root))["access_token"])
                answers = await asyncio.gather(*(api.get("/api/v1/tasks", as_=root) for _ in range(12)))
        assert {answer.body["total"] for answer in answers} == {1}


async def test_commands_see_all_rows(postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse 9")
    async with temporary_database(postgres_url, template=template_name()) as url:
        role = as_serving_role(url)
        async with running_service(make_settings(role)) as api:
            bob = await api.new_user()
            keyed = {"Idempotency-Key": "k"}
            task = (await api.post("/api/v1/tasks", {"title": "t"}, as_=bob, headers=keyed)).body
            await api.delete(f"/api/v1/tasks/{task['id']}", as_=bob)
        await run_sql(url, "UPDATE idempotency_keys SET created_at = created_at - interval '3 days'")
        await run_sql(url, "UPDATE task_changes SET changed_at = changed_at - interval '50 days'")
        assert (await run("migrate", "row-security", "on", DATABASE_URL=url)).returncode == 0
        file = str(tmp_path / "todo.dump")
        assert (await run("backup", file, DATABASE_URL=role)).returncode == 0
        made = await run("create-admin", "a@example.com", "--password-file", f"{tmp_path}/password", DATABASE_URL=role)
        assert made.returncode == 0, made.stderr
        purged = (await run("purge", DATABASE_URL=role)).stdout
        assert "1 tombstones of tasks deleted" in purged
        assert "1 idempotency keys deleted" in purged
        done = await run("restore", file, "--replace", "--yes", DATABASE_URL=url)
        assert done.returncode == 0, done.stderr
        db = await asyncpg.connect(role)
        assert await row_security.is_as_set(db, is_on=True), "as before"
        assert not await db.fetchval("SELECT has_table_privilege('audit_log', 'DELETE')")
        assert not await db.fetchval("SELECT has_table_privilege('token_epochs', 'UPDATE')")
        await db.close()
        assert len(await rows(url, "SELECT FROM idempotency_keys")) == 1
