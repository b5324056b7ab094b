"""Does a list cost what it holds, or what is stored? Pages of a user with 10,000 tasks against a user with 100.

Before each read the user writes, so that no kept answer is given; only the read is timed. What is compared is read in
turns, so that whatever else the machine does falls on both.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from tests.client import Api, User
from tests.process import served
from todo_service.postgres import embedded, migrations

MANY, FEW = 10_000, 100
PAGE = 10
ROUNDS = 300
LIMIT = 1.3
SORTS = ("-created_at", "created_at")

FILL = """
INSERT INTO tasks (user_id, id, title, status, priority, due_on, tags, created_at, updated_at, version)
SELECT $1, gen_random_uuid(), 'task ' || n % 977, 'TODO', (ARRAY['LOW', 'HIGH', 'MEDIUM'])[1 + n % 3],
    CASE WHEN n % 3 = 0 THEN date '2026-01-01' + n % 900 END, '{home,work}',
    now() - n * interval '1 s', now() - n % 1000 * interval '1 h', n
FROM generate_series(1, $2) AS n"""
COUNT = "UPDATE task_clocks SET version = $2, task_count = $2 WHERE user_id = $1"


async def run() -> bool:
    """Print the medians; True if each pair's ratio is at most `LIMIT`."""
    with tempfile.TemporaryDirectory() as folder, embedded.running(Path(folder) / "postgres") as url:
        db = await asyncpg.connect(url)
        await migrations.up(db, migrations.find())
        async with served(DATABASE_URL=url, LOG_LEVEL="WARNING") as (_, api):
            ratios = await _compared(api, db)
        await db.close()
    return max(ratios) <= LIMIT


async def _compared(api: Api, db: asyncpg.Connection) -> list[float]:
    many, few = [await _user_with(api, db, count) for count in (MANY, FEW)]
    print(f"milliseconds, medians of {ROUNDS} reads, each after a write of the same user")
    title = f"list of 100: a user with {FEW} tasks, one with {MANY:,}"
    ratios = [await _ratio(api, title, (few, "/api/v1/tasks?limit=100"), (many, "/api/v1/tasks?limit=100"))]
    for sort in SORTS:
        first = f"/api/v1/tasks?limit={PAGE}&sort={sort}"
        last = await _page(api, many, first, MANY // PAGE)
        ratios.append(await _ratio(api, f"{sort}: page 1, page {MANY // PAGE:,}", (many, first), (many, last)))
    return ratios


async def _user_with(api: Api, db: asyncpg.Connection, count: int) -> User:
    user = await api.new_user()
    await db.execute(FILL, user.id, count)
    await db.execute(COUNT, user.id, count)
    await db.execute("ANALYZE tasks")
    return user


async def _page(api: Api, user: User, first: str, number: int) -> str:
    """The path of the page with this number, found by going through all before it."""
    path = first
    for _ in range(number - 1):
        cursor = (await api.get(path, as_=user)).body["next_cursor"]
        path = f"{first}&cursor={cursor}"
    return path


async def _ratio(api: Api, title: str, *reads: tuple[User, str]) -> float:
    times: Mapping[int, list[float]] = {0: [], 1: []}
    written = [(await api.get("/api/v1/tasks?limit=1", as_=user)).body["tasks"][0]["id"] for user, _ in reads]
    for n in range(ROUNDS + 20):
        for which, (user, path) in enumerate(reads):
            await api.put(f"/api/v1/tasks/{written[which]}", {"description": str(n)}, as_=user)
            started = time.perf_counter()
            answer = await api.get(path, as_=user)
            if n >= 20:
                times[which].append(time.perf_counter() - started)
            assert answer.status == 200
    first, second = (statistics.median(times[which]) * 1000 for which in (0, 1))
    print(f"  {title:55} {first:6.2f} {second:6.2f}   ratio {second / first:.2f} (at most {LIMIT:g})")
    return second / first
