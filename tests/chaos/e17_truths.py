"""Truths: 50 at once, of each promise that a race could break.

Pass: exact counts: toggles have their parity, one If-Match wins, one successor, one account, one key one task, no
resurrection, the quota holds, one administrator stays.
"""

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

from tests.chaos.report import Report
from tests.chaos.stage import Stage, stage
from tests.client import PASSWORD

SHORT = True
AT_ONCE = 50


async def many(
    on: Stage, method: str, path: str, *, body: Any = None, headers: dict[str, str]
) -> list[tuple[int, Any]]:
    """The status and the document of each of the same requests at once."""

    async def one() -> tuple[int, Any]:
        async with on.session.request(method, on.service.base + path, json=body, headers=headers) as answer:
            text = await answer.read()
            return answer.status, (await answer.json(content_type=None)) if text else None

    return await asyncio.gather(*(one() for _ in range(AT_ONCE)))


async def make(on: Stage, headers: dict[str, str]) -> dict[str, Any]:
    [(_, task)] = [await _one(on, headers)]
    return task


async def _one(on: Stage, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    async with on.session.post(f"{on.service.base}/api/v1/tasks", json={"title": "t"}, headers=headers) as answer:
        return answer.status, await answer.json()


async def run(report: Report, *, short: bool) -> None:
    wrong: Counter[str] = Counter()
    async with stage(MAX_TASKS_PER_USER="60") as on:
        for _ in range(1 if short else 20):
            _, ada = await on.new_user()
            task = await make(on, ada)
            path = f"/api/v1/tasks/{task['id']}"
            toggles = await many(on, "PATCH", f"{path}/complete", headers=ada)
            versions = {document["version"] for status, document in toggles if status == 200}
            wrong["toggles"] += len(versions) != AT_ONCE
            async with on.session.get(on.service.base + path, headers=ada) as answer:
                current = await answer.json()
            wrong["parity of toggles"] += current["completed"] is not (AT_ONCE % 2 == 1)
            matching = ada | {"If-Match": f'"{current["version"]}"'}
            titles = await many(on, "PUT", path, body={"title": "won"}, headers=matching)
            wrong["if-match"] += Counter(status for status, _ in titles) != {200: 1, 412: AT_ONCE - 1}
            keyed = await many(
                on, "POST", "/api/v1/tasks", body={"title": "k"}, headers=ada | {"Idempotency-Key": "one"}
            )
            wrong["one key"] += len({document["id"] for status, document in keyed if status == 201}) != 1
            deleted = await asyncio.gather(
                many(on, "DELETE", path, headers=ada), many(on, "PATCH", path, body={"title": "back"}, headers=ada)
            )
            wrong["one deletion"] += sum(status == 204 for status, _ in deleted[0]) != 1
            wrong["resurrection"] += (await on.status(path, ada))[0] != 404
            filled = await many(on, "POST", "/api/v1/tasks", body={"title": "q"}, headers=ada)
            filled += await many(on, "POST", "/api/v1/tasks", body={"title": "q"}, headers=ada)
            async with on.session.get(f"{on.service.base}/api/v1/tasks?limit=1", headers=ada) as answer:
                wrong["quota"] += (await answer.json())["total"] != 60
            email = f"{uuid4().hex}@example.com"
            account = {"email": email, "password": PASSWORD}
            registered = await many(on, "POST", "/api/auth/register", body=account, headers={})
            wrong["one account"] += sum(status == 201 for status, _ in registered) != 1
            [tokens] = [document for status, document in registered if status == 201]
            refreshed = await many(
                on, "POST", "/api/v1/auth/refresh", body={"refresh_token": tokens["refresh_token"]}, headers={}
            )
            wrong["one successor"] += len({document.get("refresh_token") for _, document in refreshed}) != 1
    for name, times in wrong.items():
        report.equals(f"broken: {name}", times, 0)
