"""History: 20 clients create, update with a version, delete, read and sync the same tasks of one user.

Pass: versions have no gap; no client reads back in time; no acknowledged update is lost; each sync client ends equal to
the table.
"""

import asyncio
import random
import time
from typing import Any

from tests.chaos.report import Report
from tests.chaos.stage import Stage, stage

SHORT = False


async def ask(on: Stage, method: str, path: str, headers: dict[str, str], body: Any = None) -> tuple[int, Any]:
    async with on.session.request(method, on.service.base + path, json=body, headers=headers) as answer:
        return answer.status, (await answer.json(content_type=None)) if answer.status != 204 else None


async def run(report: Report, *, short: bool) -> None:
    async with stage() as on:
        user_id, ada = await on.new_user()
        tasks = [(await ask(on, "POST", "/api/v1/tasks", ada, {"title": "0"}))[1] for _ in range(10)]
        until, back_in_time, copies = time.monotonic() + 15, 0, []
        counts = {task["id"]: 0 for task in tasks}

        async def write() -> None:
            while time.monotonic() < until:
                task_id = random.choice(tasks)["id"]
                status, task = await ask(on, "GET", f"/api/v1/tasks/{task_id}", ada)
                if status != 200:
                    continue
                matching = ada | {"If-Match": f'"{task["version"]}"'}
                body = {"title": str(int(task["title"]) + 1)}
                status, _ = await ask(on, "PATCH", f"/api/v1/tasks/{task_id}", matching, body)
                counts[task_id] += status == 200

        async def read() -> None:
            nonlocal back_in_time
            seen: dict[str, int] = {}
            while time.monotonic() < until:
                _, page = await ask(on, "GET", "/api/v1/tasks", ada)
                for task in page["tasks"]:
                    back_in_time += task["version"] < seen.get(task["id"], 0)
                    seen[task["id"]] = task["version"]

        async def sync() -> None:
            copy: dict[str, Any] = {}
            cursor, last = "", False
            while True:
                last = last or time.monotonic() > until + 1
                _, page = await ask(
                    on, "GET", f"/api/v1/sync?limit=3&cursor={cursor}" if cursor else "/api/v1/sync", ada
                )
                for change in page["changes"]:
                    copy[change["id"]] = None if change["deleted"] else change["task"]
                cursor = page["cursor"]
                if last and not page["has_more"]:
                    break
            copies.append({task_id: task for task_id, task in copy.items() if task})

        async def churn() -> None:
            while time.monotonic() < until:
                _, task = await ask(on, "POST", "/api/v1/tasks", ada, {"title": "1"})
                await ask(on, "DELETE", f"/api/v1/tasks/{task['id']}", ada)

        jobs = [write() for _ in range(10)] + [read() for _ in range(5)] + [sync() for _ in range(5)] + [churn()]
        await asyncio.gather(*jobs)
        _, final = await ask(on, "GET", "/api/v1/tasks?limit=1000", ada)
        table = {task["id"]: task for task in final["tasks"]}
        report.equals("reads back in time", back_in_time, 0)
        lost = {task_id: (table[task_id]["title"], times) for task_id, times in counts.items()}
        report.equals("lost updates", sum(int(title) != times for title, times in lost.values()), 0)
        report.equals("copies that differ from the table", sum(copy != table for copy in copies), 0)
        gaps = """SELECT (SELECT version FROM task_clocks WHERE user_id = $1) >= (
            SELECT max(version) FROM tasks WHERE user_id = $1)"""
        report.equals("the counter is ahead of every task", (await on.rows(gaps, user_id))[0][0], True)
