"""Load with a history: every write carries a value of its own, and the database says afterwards what became of it."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

from aiohttp import ClientError

from tests.chaos.report import Report
from tests.chaos.stage import Stage

TITLE = "chaos "
PAUSE = 0.02  # seconds before a request is sent again
SLOWLY = 0.1  # seconds between the writes of a client that leaves the machine to other tests


@dataclass
class History:
    """What was written and answered: `acknowledged` titles had a complete 2xx answer, `begun` ones were sent."""

    title: str = field(default_factory=lambda: f"{TITLE}{uuid4().hex} ")  # how every title of this load begins
    begun: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    moments: list[float] = field(default_factory=list)  # of the acknowledgements

    def first_after(self, moment: float) -> float:
        """Seconds from a moment to the next acknowledgement."""
        return min((one - moment for one in self.moments if one >= moment), default=float("inf"))


class Writers:
    """Clients that create tasks with an `Idempotency-Key`, and send each again until it is acknowledged."""

    def __init__(self, stage: Stage, *, clients: int, pause: float = 0.0) -> None:
        self._stage = stage
        self._clients = clients
        self._pause = pause
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.history = History()

    async def __aenter__(self) -> History:
        users = [await self._stage.new_user() for _ in range(min(10, self._clients))]
        self._tasks = [
            asyncio.create_task(self._write(users[number % len(users)][1])) for number in range(self._clients)
        ]
        return self.history

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.wait(self._tasks, timeout=30)
        for task in self._tasks:
            task.cancel()

    async def _write(self, headers: dict[str, str]) -> None:
        while not self._stop.is_set():
            title, key = f"{self.history.title}{uuid4()}", str(uuid4())
            self.history.begun.add(title)
            while await self._send(title, headers | {"Idempotency-Key": key}) not in {200, 201}:
                if self._stop.is_set():
                    return
                await asyncio.sleep(PAUSE)
            self.history.acknowledged.add(title)
            self.history.moments.append(time.monotonic())
            await asyncio.sleep(self._pause)

    async def _send(self, title: str, headers: dict[str, str]) -> int:
        began = time.monotonic()
        status = 0
        try:
            url = f"{self._stage.service.base}/api/v1/tasks"
            async with self._stage.session.post(url, json={"title": title}, headers=headers) as answer:
                await answer.read()
                status = answer.status
                if status == 503 and "Retry-After" not in answer.headers:
                    status = 599
        except (ClientError, TimeoutError, OSError):
            status = 0
        self.history.statuses[status] += 1
        self.history.slowest = max(self.history.slowest, time.monotonic() - began)
        return status


async def judge(stage: Stage, history: History, report: Report) -> None:
    """Ask the database: every acknowledged title is there once, none twice, and none that was never sent."""
    found = Counter({
        row["title"]: row["times"]
        for row in await stage.rows(
            "SELECT title, count(*) AS times FROM tasks WHERE title LIKE $1 GROUP BY title", f"{history.title}%"
        )
    })  # fmt: skip
    gaps = """SELECT count(*) FROM task_clocks AS clock WHERE task_count <> (
        SELECT count(*) FROM tasks WHERE tasks.user_id = clock.user_id)
        OR version <> (SELECT count(*) FROM tasks WHERE tasks.user_id = clock.user_id)"""
    wrong = {
        "acknowledged and lost": len(history.acknowledged - set(found)),
        "there twice": sum(times > 1 for times in found.values()),
        "never sent": len(set(found) - history.begun),
        "answered neither with success nor 503 and Retry-After": sum(
            times for status, times in history.statuses.items() if status not in {0, 200, 201, 503}
        ),
        "users whose counter disagrees with their tasks": (await stage.rows(gaps))[0][0],
    }
    report.at_least("acknowledged writes", len(history.acknowledged), 1)
    report.equals("of them wrong", {name: count for name, count in wrong.items() if count} or "none", "none")
