"""Do administrators' lists and the deletion of an account cost the same with a million users as with ten thousand?

Each list is asked for on a connection like the service's, and the best of some tries is printed; accounts are deleted
alone and twenty at once.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import asyncpg
import structlog

from todo_service.auth import administration
from todo_service.config.database_options import database_options
from todo_service.config.settings import Settings
from todo_service.postgres import embedded, migrations
from todo_service.postgres.database import Database
from todo_service.queries import all_tasks, user_lists
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.task_lists import ListSpec
from todo_service.queries.user_lists import Filter, Position

STAGES = (10_000, 1_000_000)
TASKS = 2  # of each user
LIMIT = 0.05  # seconds of a list
TRIES = 5
AT_ONCE = 20
ADD_USERS = """
INSERT INTO users (id, email, email_key, password_hash, full_name, role, is_active, created_at)
SELECT 'user-' || n, 'person.' || n || '@example.com', 'person.' || n || '@example.com', 'x',
    'Given' || n % 997 || ' Family' || n % 10007, CASE WHEN n % 100000 = 5 THEN 'admin' ELSE 'user' END, n % 50 > 0,
    now() - n * interval '1 s'
FROM generate_series($1::int, $2::int) AS n"""
ADD_CLOCKS = "INSERT INTO task_clocks (user_id) SELECT 'user-' || n FROM generate_series($1::int, $2::int) AS n"
ADD_TASKS = """
INSERT INTO tasks (user_id, id, title, status, priority, tags, created_at, updated_at, version)
SELECT 'user-' || n, gen_random_uuid(), 'a task', 'TODO', 'LOW', '{}', moment, moment, task
FROM generate_series($1::int, $2::int) AS n, generate_series(1, $3::int) AS task,
    LATERAL (SELECT now() - (n * 3 + task) * interval '1 s' AS moment)"""
LISTS = {
    "users": Filter(), "administrators": Filter(role="admin"), "inactive users": Filter(is_active=False),
    "q that all have": Filter("example.com"), "q that one has": Filter("person.9999@"),
    "q that none has": Filter("zzzz"),
}  # fmt: skip


async def run() -> bool:
    """Print the times; True if no list of a million users takes longer than `LIMIT`."""
    slowest = 0.0
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder, embedded.running(Path(folder) / "postgres") as url:
        db = await asyncpg.connect(url)
        await migrations.up(db, migrations.find())
        settings = Settings.load(database_url=url, secret_key="only-for-this-benchmark-0123456789")
        database = Database(database_options(settings))
        await database.open()
        first = 1
        for users in STAGES:
            for sql, more in ((ADD_USERS, ()), (ADD_CLOCKS, ()), (ADD_TASKS, (TASKS,))):
                await db.execute(sql, first, users, *more)
            await db.execute("VACUUM ANALYZE")
            first = users + 1
            print(f"  {users:,} users, {users * TASKS:,} tasks", flush=True)
            slowest = max([await _list(database, name, filters) for name, filters in LISTS.items()])
            slowest = max(slowest, await _time("late page of users", partial(_late, database, users)))
            slowest = max(slowest, await _time("tasks of all users", partial(_tasks, database)))
            await _delete(database, users)
        await database.close()
        await db.close()
    print(f"  the slowest list of a million users: {slowest * 1000:.1f} ms (at most {LIMIT * 1000:.0f})")
    return slowest <= LIMIT


async def _time(name: str, ask: Callable[[], Awaitable[object]]) -> float:
    """Print and return the best time of some tries."""
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    print(f"    {name:24} {min(times) * 1000:8.1f} ms", flush=True)
    return min(times)


async def _list(database: Database, name: str, filters: Filter) -> float:
    async def ask() -> None:
        async with database.connection() as db:
            await user_lists.select_page(db, filters, after=None, skip=0, limit=100)

    return await _time(name, ask)


async def _late(database: Database, users: int) -> None:
    async with database.connection() as db:
        moment = await db.fetchval("SELECT created_at FROM users WHERE id = $1", f"user-{users * 9 // 10}")
        await user_lists.select_page(db, Filter(), after=Position(moment, ""), skip=0, limit=100)


async def _tasks(database: Database) -> None:
    async with database.connection() as db:
        await all_tasks.select_page(db, spec=ListSpec("-created_at", limit=100))


async def _delete(database: Database, users: int) -> None:
    async def delete(number: int) -> None:
        await administration.delete(database, f"user-{number}", AuditEntry("account_deleted", "bin/bench", "-"))

    began = time.perf_counter()
    await delete(users - 1)
    alone, began = time.perf_counter() - began, time.perf_counter()
    await asyncio.gather(*(delete(users - 10 - number) for number in range(AT_ONCE)))
    at_once = time.perf_counter() - began
    print(f"    deletion of an account   {alone * 1000:8.1f} ms, {AT_ONCE} at once {at_once * 1000:.1f} ms", flush=True)
