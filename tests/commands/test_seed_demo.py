"""`bin/seed-demo`: people and tasks to look at, with clocks that agree, the same for the same seed."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest_asyncio

from tests.commands.test_users import run
from tests.conftest import make_settings, running_service, template_name, temporary_database
from tests.replica import SYNC
from tests.routes.test_sessions import rows
from todo_service.queries import clocks

TASKS = "SELECT * FROM tasks ORDER BY user_id, version"
USERS = "SELECT id, email, email_key, full_name, role, created_at FROM users ORDER BY email"


@pytest_asyncio.fixture
async def own_url(postgres_url: str) -> AsyncIterator[str]:
    async with temporary_database(postgres_url, template=template_name()) as url:
        yield url


async def seed(url: str, *arguments: str) -> dict[str, Any]:
    done = await run("seed-demo", *arguments, "--json", DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


async def test_they_can_sign_in_and_everything_agrees(own_url: str) -> None:
    told = await seed(own_url, "--users", "3", "--tasks", "200")
    assert (told["users"], told["tasks"], told["last"]) == (3, 600, "demo-0003@example.com")
    db = await asyncpg.connect(own_url)
    totals = await clocks.select_totals(db)
    await db.close()
    assert (totals.users, totals.tasks, totals.miscounted, totals.ahead) == (3, 600, 0, 0)
    async with running_service(make_settings(own_url)) as api:
        signed_in = await api.post("/api/v1/auth/login", {"email": told["last"], "password": told["password"]})
        token = signed_in.body["access_token"]
        listed = (await api.get("/api/v1/tasks?limit=1000", token=token)).body
        tasks = listed["tasks"]
        assert (listed["total"], len(tasks)) == (200, 200)
        assert sorted(task["version"] for task in tasks) == list(range(1, 201))
        changed = [task["updated_at"] for task in sorted(tasks, key=lambda task: task["version"])]
        assert changed == sorted(changed), "versions are in the order of the changes"
        assert len((await api.get(f"{SYNC}?limit=1000", token=token)).body["changes"]) == 200
        made = await api.post("/api/v1/tasks", {"title": "mine"}, token=token)
        assert made.body["version"] == 201
    assert {task["status"] for task in tasks} == {"TODO", "IN_PROGRESS", "COMPLETED"}
    assert {task["priority"] for task in tasks} == {"URGENT", "HIGH", "MEDIUM", "LOW"}
    assert {len(task["due_date"] or "") for task in tasks} == {0, len("2026-12-24"), len("2026-12-24T18:00:00Z")}
    assert len({task["title"] for task in tasks}) > 40
    assert {len(task["tags"]) for task in tasks} >= {0, 1, 2, 3}
    assert any(task["description"] is None for task in tasks)


async def test_the_same_seed_and_day_give_the_same(postgres_url: str, own_url: str) -> None:
    arguments = ["--users", "2", "--tasks", "30", "--today", "2026-12-24"]
    async with temporary_database(postgres_url, template=template_name()) as url:
        for where, number in ((own_url, "7"), (url, "7")):
            await seed(where, *arguments, "--seed", number)
        assert await rows(own_url, TASKS) == await rows(url, TASKS)
        assert await rows(own_url, USERS) == await rows(url, USERS)
    async with temporary_database(postgres_url, template=template_name()) as url:
        await seed(url, *arguments, "--seed", "8")
        assert await rows(own_url, TASKS) != await rows(url, TASKS)


async def test_run_again_it_adds_who_is_missing(own_url: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse 9\n")
    first = await seed(own_url, "--users", "2", "--tasks", "5", "--password-file", str(tmp_path / "password"))
    assert "password" not in first
    before = await rows(own_url, TASKS)
    again = await seed(own_url, "--users", "3", "--tasks", "5")
    assert (again["users"], again["already_there"], again["tasks"]) == (1, 2, 5)
    assert [row for row in await rows(own_url, TASKS) if row in before] == before
    done = await run("seed-demo", "--users", "3", DATABASE_URL=own_url)
    assert "3 of them were there already" in done.stdout
    assert "password of the new" not in done.stdout


async def test_wrong_wishes_are_2(own_url: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("password1")
    for arguments in (
        ["--users", "0"], ["--tasks", "-1"], ["--tasks", "10001"], ["--today", "yesterday"], ["--seed", "x"],
        ["--password-file", "/nowhere"], ["--password-file", str(tmp_path / "password")],
    ):  # fmt: skip
        done = await run("seed-demo", *arguments, DATABASE_URL=own_url)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr


async def test_production_needs_a_yes(own_url: str) -> None:
    production = {"ENVIRONMENT": "production", "DATABASE_URL": own_url, "BCRYPT_ROUNDS": "12"}
    done = await run("seed-demo", "--users", "1", "--tasks", "1", **production)
    assert (done.returncode, "--yes" in done.stderr) == (2, True)
    assert await rows(own_url, USERS) == []
    done = await run("seed-demo", "--users", "1", "--tasks", "1", "--yes", **production)
    assert done.returncode == 0, done.stderr
