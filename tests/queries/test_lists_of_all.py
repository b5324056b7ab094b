"""Administrators' lists of all users and of all tasks: right, and no dearer the more there are."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from tests.conftest import template_name, temporary_database
from tests.proxy import until
from todo_service.postgres.connection import Connection
from todo_service.queries import all_tasks, user_lists
from todo_service.queries.task_lists import ListSpec, position
from todo_service.queries.user_lists import COUNTED, Filter, Position

NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
EVERYBODY = Filter()


@pytest_asyncio.fixture(scope="module")
async def db(postgres_url: str) -> AsyncIterator[Connection]:
    """A database with 12,000 users and tasks, one a second. Plans are made as on the service's connections."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        connection = await asyncpg.connect(url, server_settings={"plan_cache_mode": "force_generic_plan"})
        await add(connection, 1, 12_000)
        yield connection
        await connection.close()


async def add(db: Connection, first: int, last: int) -> None:
    """Users by number, the higher the older. Up to 12,000 every 50th is inactive, every 6,000th an administrator."""
    await db.execute(
        """INSERT INTO users (id, email, full_name, role, is_active, created_at)
        SELECT n::text, 'p' || n || '@example.com', CASE WHEN n = 11500 THEN 'Zoë 100%' END,
            CASE WHEN n % 6000 = 0 AND n <= 12000 THEN 'admin' ELSE 'user' END,
            n % 50 > 0 OR n > 12000, $3::timestamptz - n * interval '1 s'
        FROM generate_series($1::int, $2::int) AS n""",
        first, last, NEWEST,
    )  # fmt: skip
    await db.execute(
        """INSERT INTO task_clocks (user_id) SELECT n::text FROM generate_series($1::int, $2::int) AS n""", first, last
    )
    await db.execute(
        """INSERT INTO tasks (user_id, id, title, status, priority, tags, created_at, updated_at, version)
        SELECT n::text, lpad(to_hex(n), 32, '0')::uuid, 't', 'TODO', 'LOW', '{}', moment, moment, 1
        FROM generate_series($1::int, $2::int) AS n, LATERAL (SELECT $3::timestamptz - n * interval '1 s' AS moment)""",
        first, last, NEWEST,
    )  # fmt: skip
    await vacuum(db)


async def vacuum(db: Connection) -> None:
    """Clean up, so that an index is enough to read; that has to wait for transactions of other tests."""

    async def is_clean() -> bool:
        await db.execute("VACUUM ANALYZE users, tasks")
        visible = "SELECT bool_and(relallvisible = relpages) FROM pg_class WHERE relname IN ('users', 'tasks')"
        return await db.fetchval(visible) is True

    await until(is_clean, 30)


async def users_of(db: Connection, filters: Filter = EVERYBODY, **page: int) -> tuple[list[int], int, bool, bool]:
    found = await user_lists.select_page(db, filters, after=None, skip=page.get("skip", 0), limit=page.get("limit", 3))
    return [int(user.id) for user in found.users], found.total, found.is_estimate, found.has_more


async def test_users_are_listed_newest_first_with_an_estimate_beyond_10_000(db: Connection) -> None:
    assert await users_of(db) == ([1, 2, 3], 12_000, True, True)
    assert await users_of(db, skip=COUNTED, limit=1000) == ([*range(10_001, 11_001)], 12_000, True, True)
    assert await users_of(db, Filter(role="admin")) == ([6000, 12_000], 2, False, False)
    assert await users_of(db, Filter(is_active=False)) == ([50, 100, 150], 240, False, True)
    assert await users_of(db, Filter(role="admin", is_active=True)) == ([], 0, False, False)
    assert await users_of(db, Filter(role="user", is_active=True), skip=48) == ([49, 51, 52], 12_000, True, True)


@pytest.mark.parametrize(
    ("text", "ids", "total", "is_estimate"),
    [
        ("EXAMPLE.com", [1, 2, 3], 12_000, True),
        ("p11", [11, 110, 111], 133, True),  # by the share of the newest 10,000; in fact 1,111
        ("p1199", [1199, 11_990, 11_991], 11, False),
        ("p11999@", [11_999], 1, False),
        ("zoë", [11_500], 1, False),
        ("ZOE\u0308 100%", [11_500], 1, False),
        ("100_", [], 0, False),
        ("z", [11_500], 1, False),
        ("oë", [], 0, False),  # two characters begin a text
    ],
)
async def test_a_search_finds_all_also_beyond_the_newest(
    db: Connection, text: str, ids: list[int], total: int, is_estimate: bool
) -> None:
    found, matches, estimated, _ = await users_of(db, Filter(text))
    assert (found, estimated) == (ids, is_estimate)
    assert matches == total
    assert (await users_of(db, Filter(text, role="admin")))[0] == [6000, 12_000] * (text == "EXAMPLE.com")


async def test_pages_follow_each_other(db: Connection) -> None:
    for filters, ids in (
        (Filter(), [*range(1, 12_001)]), (Filter(is_active=False), [*range(50, 12_001, 50)]),
        (Filter("p119"), [119, *range(1190, 1200), *range(11_900, 12_000)]),
        (Filter("@example"), [*range(1, 12_001)]),
    ):  # fmt: skip
        seen: list[int] = []
        after, has_more = None, True
        while has_more:
            page = await user_lists.select_page(db, filters, after=after, skip=0, limit=999 if len(ids) > 999 else 7)
            seen += [int(user.id) for user in page.users]
            after, has_more = Position(page.users[-1].created_at, page.users[-1].id), page.has_more
        assert seen == ids


async def test_all_tasks_are_listed_by_creation_with_an_estimate_beyond_10_000(db: Connection) -> None:
    for sort, numbers in (("-created_at", range(1, 12_001)), ("created_at", range(12_000, 0, -1))):
        spec = ListSpec(sort, limit=1000)
        seen: list[UUID] = []
        has_more = True
        while has_more:
            page = await all_tasks.select_page(db, spec=spec)
            assert (page.total, page.is_estimate) == (12_000, True)
            seen += [task.id for task in page.tasks]
            spec, has_more = ListSpec(sort, limit=1000, after=position(sort, page.tasks[-1])), page.has_more
        assert seen == [UUID(int=number) for number in numbers]
        skipped = await all_tasks.select_page(db, spec=ListSpec(sort, skip=COUNTED, limit=2))
        assert [task.id for task in skipped.tasks] == [UUID(int=number) for number in numbers[COUNTED : COUNTED + 2]]


async def pages_read(db: Connection, sql: str, *arguments: object) -> int:
    """How many pages of tables and indexes a statement touches."""
    await db.execute(f"PREPARE measured AS {sql}")
    literals = ", ".join("NULL" if one is None else f"'{one}'" for one in arguments)
    [[plan]] = await db.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE measured ({literals})")
    await db.execute("DEALLOCATE measured")
    read: int = json.loads(plan)[0]["Plan"]["Shared Hit Blocks"] + json.loads(plan)[0]["Plan"]["Shared Read Blocks"]
    return read


async def test_no_list_reads_more_because_there_are_more(db: Connection) -> None:
    start, late = (None, ""), (NEWEST - timedelta(seconds=11_000), "")
    last_task = (NEWEST - timedelta(seconds=11_000), UUID(int=11_000), "11000")
    statements = [
        *((sql, (101, 0, *after)) for sql in user_lists.SELECT_PAGE.values() for after in (start, late)),
        *((sql, (101, 0, *start, text)) for sql in user_lists.SEARCH.values() for text in ("nobody", "example")),
        *((sql, (101, 0, *start, "p1150")) for sql in user_lists.SEARCH_ALL.values()),
        *((all_tasks.SELECT_PAGE[sort], (101, 0)) for sort in all_tasks.SORTS),
        *((all_tasks.SELECT_PAGE[f"{sort} after"], (101, *last_task)) for sort in all_tasks.SORTS),
    ]
    before = [await pages_read(db, sql, *arguments) for sql, arguments in statements]
    await add(db, 20_001, 44_000)
    try:
        after = [await pages_read(db, sql, *arguments) for sql, arguments in statements]
    finally:
        await db.execute("DELETE FROM users WHERE id::int > 20000")
        await vacuum(db)
    for (sql, arguments), few, many in zip(statements, before, after, strict=True):
        assert many <= few + 5, (arguments, few, many, sql)
