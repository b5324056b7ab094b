"""Followers: 20 streams and waiting syncs break off at random, 20 clients write, workers and PostgreSQL are killed.

Pass: every follower ends equal to the table; no change comes twice to a chain of cursors; versions are gapless.
"""

import asyncio
import json
import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import ClientError, ClientTimeout

from tests.chaos.report import Report
from tests.chaos.stage import Stage, stage

SHORT = True
WRITERS, FOLLOWERS, USERS = 20, 20, 4  # a user may have ten followers
SETTLE_SECONDS = 60
UNAVAILABLE = (ClientError, TimeoutError, OSError, json.JSONDecodeError)


@dataclass
class Follower:
    """A client with a copy of a user's tasks, which it makes of pages of changes."""

    on: Stage
    user_id: str
    headers: dict[str, str]
    streams: bool
    tasks: dict[str, int] = field(default_factory=dict)
    versions: set[int] = field(default_factory=set)
    repeated: int = 0
    pages: int = 0
    cursor: str = ""

    async def follow(self) -> None:
        """Follow for ever; each connection lasts a random time."""
        while True:
            with suppress(*UNAVAILABLE):
                async with asyncio.timeout(random.uniform(0.3, 6)):
                    await (self._stream() if self.streams else self._wait())
            await asyncio.sleep(random.uniform(0, 0.2))

    async def _stream(self) -> None:
        headers = self.headers | ({"Last-Event-ID": self.cursor} if self.cursor else {})
        url = f"{self.on.service.base}/api/v1/events"
        async with self.on.session.get(url, headers=headers, timeout=ClientTimeout(total=None)) as answer:
            if answer.status == 200:
                async for line in answer.content:
                    if line.startswith(b"data: "):
                        self._apply(json.loads(line.removeprefix(b"data: ")))

    async def _wait(self) -> None:
        while True:
            url = f"{self.on.service.base}/api/v1/sync"
            query = {"cursor": self.cursor, "wait": "5", "limit": "100"}
            async with self.on.session.get(url, params=query, headers=self.headers) as answer:
                if answer.status != 200:
                    return
                self._apply(await answer.json())

    def _apply(self, page: dict[str, Any]) -> None:
        self.pages += 1
        for change in page["changes"]:
            if change["deleted"]:
                self.tasks.pop(change["id"], None)
                continue
            version = change["task"]["version"]
            self.repeated += version in self.versions
            self.versions.add(version)
            self.tasks[change["id"]] = version
        self.cursor = page["cursor"]


async def _write(on: Stage, headers: dict[str, str], until: float) -> int:
    """Create, change and delete tasks, whatever the answers are; return the number of successes."""
    ids: list[str] = []
    done, url = 0, f"{on.service.base}/api/v1/tasks"
    while time.monotonic() < until:
        action = random.choice(["create", "create", "update", "delete"]) if ids else "create"
        method, path, body = "POST", "", {"id": str(uuid4()), "title": f"follow {uuid4().hex[:6]}"}
        if action != "create":
            method, path = ("PATCH" if action == "update" else "DELETE"), f"/{random.choice(ids)}"
            body = {"title": uuid4().hex}
        with suppress(*UNAVAILABLE):
            async with on.session.request(method, url + path, json=body, headers=headers) as answer:
                await answer.read()
                done += answer.status < 300
                if answer.status == 201:
                    ids.append(body["id"])
        await asyncio.sleep(0.05)
    return done


async def _break(on: Stage, until: float, *, restart_at: float) -> int:
    """Kill a worker every few seconds, and PostgreSQL once; return the number of kills."""
    kills, has_restarted = 0, False
    while time.monotonic() < until:
        await asyncio.sleep(3)
        if not has_restarted and time.monotonic() > restart_at:
            on.postgres.kill()
            on.postgres.start()
            await on.postgres.until_accepting()
            has_restarted = True
        elif len(workers := on.service.workers()) == 2:
            with suppress(ProcessLookupError):
                os.kill(random.choice(workers), signal.SIGKILL)
            kills += 1
    return kills


async def run(report: Report, *, short: bool) -> None:
    seconds = 12 if short else 60
    async with stage() as on:
        users = [await on.new_user() for _ in range(USERS)]
        followers = [
            Follower(on, *users[number % USERS], streams=number < FOLLOWERS // 2) for number in range(FOLLOWERS)
        ]
        tasks = [asyncio.create_task(follower.follow()) for follower in followers]
        until = time.monotonic() + seconds
        *written, kills = await asyncio.gather(
            *(_write(on, users[number % USERS][1], until) for number in range(WRITERS)),
            _break(on, until, restart_at=until - seconds / 2),
        )
        deadline = time.monotonic() + SETTLE_SECONDS
        behind = await _behind(on, followers)
        while behind and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            behind = await _behind(on, followers)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        report.at_least("changes", sum(written), 10 * seconds)
        report.at_least("kills of workers", kills, 1)
        report.at_least("pages that followers have read", sum(follower.pages for follower in followers), FOLLOWERS)
        report.equals("followers that differ from the table", behind, 0)
        report.equals("changes that came twice", sum(follower.repeated for follower in followers), 0)
        gaps = """SELECT count(*) FROM task_clocks AS clock
            WHERE version <> (SELECT count(*) FROM task_changes AS change WHERE change.user_id = clock.user_id)
            OR task_count <> (SELECT count(*) FROM tasks WHERE tasks.user_id = clock.user_id)"""
        report.equals("users with gaps in their versions", (await on.rows(gaps))[0][0], 0)


async def _behind(on: Stage, followers: list[Follower]) -> int:
    """Return the number of followers whose copy is not equal to the table."""
    stored: dict[str, dict[str, int]] = {follower.user_id: {} for follower in followers}
    for row in await on.rows("SELECT user_id, id, version FROM tasks WHERE user_id = ANY ($1)", list(stored)):
        stored[row["user_id"]][str(row["id"])] = row["version"]
    return sum(follower.tasks != stored[follower.user_id] for follower in followers)
