"""A write is answered only when the synchronous standby has it, also where it repeats an earlier one.

PostgreSQL commits before it waits for its standby. A write that is given up meanwhile is therefore visible, and its
repeat finds that nothing is left to do: if that answered at once, a failover could still lose what was acknowledged.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientResponse
from cryptography.fernet import Fernet

from tests.chaos.stage import Stage, stage

SAME = {"id": "0197b3f0-0000-7000-8000-000000000001", "title": "the same"}
TASK = f"/api/v1/tasks/{SAME['id']}"
FILE = {"tasks": [SAME | {"id": "0197b3f0-0000-7000-8000-000000000002"}]}
LOW = {"op": "update", "id": SAME["id"], "task": {"priority": "LOW"}}
BATCH = {"operations": [{"op": "create", "task": SAME}, LOW]}
KEYED = {"Idempotency-Key": "the first"}
REPEATED: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "create with an id": ("POST", "/api/v1/tasks", SAME, {}),
    "create with an id and a key": ("POST", "/api/v1/tasks", SAME, {"Idempotency-Key": "another"}),
    "create with a key": ("POST", "/api/v1/tasks", {"title": "keyed"}, KEYED),
    "create in the family of a user": ("POST", "/api/tasks", SAME, {}),
    "replace": ("PUT", TASK, {"title": "the same", "priority": "LOW"}, {}),
    "change": ("PATCH", TASK, {"priority": "LOW"}, {}),
    "complete": ("PATCH", f"{TASK}/complete", {"completed": False}, {}),
    "batch": ("POST", "/api/v1/tasks/batch", BATCH, {}),
    "import": ("POST", "/api/v1/import", FILE, {}),
    "delete": ("DELETE", "/api/v1/tasks/0197b3f0-0000-7000-8000-000000000003", None, {}),
    "rename": ("PATCH", "/api/v1/auth/me", {"full_name": "Ada"}, {}),
    "delete an API key": ("DELETE", "/api/user-api-keys/current?provider=gemini", None, {}),
}


@asynccontextmanager
async def without_standby() -> AsyncIterator[tuple[Stage, Callable[[], Awaitable[None]]]]:
    """The service, and what makes PostgreSQL wait for a standby that does not answer."""
    async with stage(workers=1, ENCRYPTION_KEY=Fernet.generate_key().decode()) as on:

        async def lose_standby() -> None:
            on.postgres.stop()
            on.postgres._options = ("--synchronous_standby_names=absent",)
            on.postgres.start()
            await on.postgres.until_accepting("todo")
            await on.service.until_ready()

        yield on, lose_standby


async def send(on: Stage, method: str, path: str, body: Any, headers: dict[str, str]) -> ClientResponse:
    async with on.session.request(method, on.service.base + path, json=body, headers=headers) as answer:
        await answer.read()
    return answer


async def test_a_repeat_waits_for_the_standby_as_the_first_write_does() -> None:
    async with without_standby() as (on, lose_standby):
        _, ada = await on.new_user()
        for name, (method, path, body, headers) in REPEATED.items():
            answer = await send(on, method, path, body, ada | headers)
            assert answer.ok or method == "DELETE", (name, answer.status)
        account = {"email": "ada@example.com", "password": "correct horse 9"}
        signed_up = await send(on, "POST", "/api/auth/signup", account, {})
        refresh = {"refresh_token": (await signed_up.json())["refresh_token"]}
        assert (await send(on, "POST", "/api/v1/auth/logout", refresh, {})).status == 204
        await lose_standby()
        repeated = {name: send(on, *request[:3], ada | request[3]) for name, request in REPEATED.items()}
        repeated["log out"] = send(on, "POST", "/api/v1/auth/logout", refresh, {})
        repeated["sign in"] = send(on, "POST", "/api/v1/auth/login", account, {})
        answers = dict(zip(repeated, await asyncio.gather(*repeated.values()), strict=True))
        assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(repeated, 503)
        assert all(answer.headers["Retry-After"] for answer in answers.values())
        assert (await send(on, "GET", TASK, None, ada)).status == 200


@pytest.mark.parametrize("headers", [{}, KEYED], ids=["a statement", "a transaction"])
async def test_a_commit_whose_wait_is_cancelled_is_not_acknowledged(headers: dict[str, str]) -> None:
    async with without_standby() as (on, lose_standby):
        _, ada = await on.new_user()
        await lose_standby()
        writing = asyncio.create_task(send(on, "POST", "/api/v1/tasks", {"title": "cancelled"}, ada | headers))
        cancelled = 0
        while not cancelled:
            await asyncio.sleep(0.02)
            [[cancelled]] = await on.rows(
                "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
        assert (await writing).status == 503
        [[stored]] = await on.rows("SELECT count(*) FROM tasks WHERE title = 'cancelled'")
        assert stored == 1
