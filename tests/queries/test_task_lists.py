"""The statements of lists: what they find, and what it costs."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from tests.queries.test_tasks import ada as ada
from tests.queries.test_tasks import add, new_task
from tests.queries.test_tasks import bob as bob
from todo_service.postgres.connection import Connection
from todo_service.queries import task_lists, tasks
from todo_service.queries.task_filters import Filter
from todo_service.queries.task_lists import NO_TASKS, SELECT_PAGE, SORTS, ListSpec, Page, Stamp
from todo_service.queries.task_rows import Changes, TaskRow

NOON = datetime(2026, 12, 24, 12, tzinfo=UTC)
FILTERS = [
    Filter(status="TODO"),
    Filter(completed=True),
    Filter(priority="LOW"),
    Filter(tags=("a", "b")),
    Filter(due_before=NOON),
    Filter(due_after=NOON),
    Filter(updated_after=NOON),
    Filter(text="%"),
]


async def select(db: Connection, owner_id: str, sort: str = "-created_at", **spec: Any) -> Page:
    page = await task_lists.select_page(db, owner_id=owner_id, spec=ListSpec(sort, **spec))
    assert page is not None
    return page


async def test_a_page_has_total_and_stamp_of_the_same_moment(db: Connection, ada: str, bob: str) -> None:
    rows = [await add(db, ada) for _ in range(3)]
    page = await select(db, ada, skip=1, limit=1)
    assert page.stamp is not None
    assert (page.tasks, page.total, page.has_more, page.stamp.version) == ([rows[1]], 3, True, 3)
    assert await select(db, ada) == Page(rows[::-1], 3, has_more=False, stamp=page.stamp)
    assert await select(db, ada, skip=9) == Page([], 3, has_more=False, stamp=page.stamp)
    assert (await select(db, ada, skip=2, limit=1)).has_more is False
    bobs = await select(db, bob)
    assert bobs.stamp is not None
    assert (bobs.tasks, bobs.total, bobs.stamp.version) == ([], 0, 0)
    assert bobs.stamp.epoch != page.stamp.epoch
    assert await select(db, "nobody") == Page([], 0, has_more=False, stamp=NO_TASKS)


async def test_nothing_is_read_while_the_stamp_is_the_known_one(db: Connection, ada: str) -> None:
    row = await add(db, ada)
    for spec in (ListSpec("title"), ListSpec("title", Filter(status="TODO"))):
        page = await task_lists.select_page(db, owner_id=ada, spec=spec)
        assert page is not None
        known = page.stamp
        assert known is not None
        assert await task_lists.select_page(db, owner_id=ada, spec=spec, unless=known) is None
        other_epoch = Stamp(known.epoch + 1, known.version)
        for stale in (Stamp(known.epoch, known.version - 1), other_epoch, NO_TASKS):
            assert await task_lists.select_page(db, owner_id=ada, spec=spec, unless=stale) == page
    await tasks.update(db, owner_id=ada, task_id=row.id, changes=Changes(title="new"))
    assert await task_lists.select_page(db, owner_id=ada, spec=spec, unless=known) is not None


@pytest.mark.parametrize("sort", SORTS)
async def test_every_order_is_total_and_its_pages_meet(db: Connection, ada: str, sort: str) -> None:
    """Ties by id, tasks without a due date last in both directions, both kinds of due dates among each other."""
    for n in range(12):
        due_on, due_at = (date(2026, 12, 23 + n % 3), None) if n % 2 else (None, NOON + timedelta(hours=n // 4))
        if n % 4 == 3:
            due_on = None
        title = ["Äpfel", "apple", "Apple", "b"][n % 4]
        priority = task_lists.PRIORITIES[n % 3]
        task = new_task(title, id=UUID(int=99 - n), due_on=due_on, due_at=due_at, priority=priority)
        row = await add(db, ada, task)
        if n % 5 == 0:
            await tasks.update(db, owner_id=ada, task_id=row.id, changes=Changes(description="d"))
    whole = (await select(db, ada, sort)).tasks
    backwards = sort.startswith("-")

    def key(task: TaskRow) -> tuple[bool, Any, UUID]:
        value = task_lists.position(sort, task).key
        if isinstance(value, str):
            value = value.lower()
        return ((value is None) is not backwards, value if value is not None else NOON, task.id)

    assert [task.id for task in whole] == [task.id for task in sorted(whole, key=key, reverse=backwards)]
    seen, after = [], None
    while True:
        page = await select(db, ada, sort, limit=5, after=after)
        seen += page.tasks
        assert page.total == 12
        if not page.has_more:
            break
        after = task_lists.position(sort, page.tasks[-1])
    assert seen == whole


@pytest.mark.parametrize("wanted", FILTERS)
async def test_each_filter_picks_and_counts(db: Connection, ada: str, bob: str, wanted: Filter) -> None:
    matching = [
        new_task("50 % more", priority="LOW", tags=["b", "a", "c"], due_on=date(2026, 12, 24)),
        new_task("x", description="a % b", priority="LOW", tags=["a", "b"], due_on=date(2026, 12, 25)),
    ]
    for task in (*matching, new_task("done", status="COMPLETED", tags=["a"], due_at=NOON)):
        await add(db, ada, task)
        await add(db, bob, task._replace(id=uuid4()))
    found = await select(db, ada, "created_at", filter=wanted)
    titles = [task.title for task in found.tasks]
    expected = {
        "status": ["50 % more", "x"],
        "completed": ["done"],
        "due_before": ["50 % more"],
        "due_after": ["x"],
        "updated_after": [] if datetime.now(UTC) < NOON else ["50 % more", "x", "done"],
    }
    name = next(name for name, value in wanted._asdict().items() if value is not None)
    assert titles == expected.get(name, ["50 % more", "x"])
    assert found.total == len(titles)
    assert {task.user_id for task in found.tasks} <= {ada}
    beyond = await select(db, ada, filter=wanted, skip=10)
    assert (beyond.tasks, beyond.total) == ([], len(titles)), "the total does not depend on the page"


@pytest_asyncio.fixture
async def crowd(db: Connection) -> AsyncIterator[Connection]:
    """100,000 tasks of 1,000 users, statements planned as the service has them planned."""
    await db.execute("INSERT INTO users (id) SELECT 'user ' || n FROM generate_series(1, 1000) AS n")
    await db.execute(
        "INSERT INTO task_clocks (user_id, version, task_count) SELECT id, 100, 100 FROM users WHERE id LIKE 'user %'"
    )
    await db.execute("""
        INSERT INTO tasks (user_id, id, title, status, priority, due_on, tags, created_at, updated_at, version)
        SELECT 'user ' || 1 + n % 1000, gen_random_uuid(), 'task ' || n % 77, 'TODO', 'LOW',
            CASE WHEN n % 3 = 0 THEN date '2026-12-01' + n / 1000 % 30 END, '{a}',
            now() - n * interval '1 s', now() - n % 100 * interval '1 h', n / 1000
        FROM generate_series(1, 100000) AS n""")
    await db.execute("ANALYZE tasks")
    await db.execute("ANALYZE task_clocks")
    await db.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    yield db


def position_of(sort: str) -> str:
    keys = {"priority": "3", "title": "'task 50'", "due_date": "'2026-12-15'"}
    return keys.get(sort.removeprefix("-"), "now() - interval '50 h'") + f", '{UUID(int=0)}'"


async def plan(db: Connection, sql: str, arguments: str) -> str:
    await db.execute(f"PREPARE page AS {sql}")
    lines = await db.fetch(f"EXPLAIN ANALYZE EXECUTE page({arguments})")
    await db.execute("DEALLOCATE page")
    return "\n".join(line[0] for line in lines)


async def test_no_owners_list_reads_a_table_from_end_to_end(crowd: Connection) -> None:
    """A page in the default order is read along its index, not one task beyond it; none reads another user's tasks."""
    assert len(SELECT_PAGE) == 40
    for sort, after, filtered in product(SORTS, (False, True), (False, True)):
        variant = f"{sort}{' after' * after}{' filtered' * filtered}"
        arguments = f"'user 7', NULL, NULL, 20, {position_of(sort) if after else 0}"
        if filtered:
            arguments += ", 'TODO', false, 'LOW', '{a}', NULL, NULL, NULL, NULL, NULL, 'task'"
        found = await plan(crowd, SELECT_PAGE[variant], arguments)
        assert "Seq Scan" not in found, (variant, found)
        rows = max(float(rows) for rows in re.findall(r"actual .*rows=([\d.]+)", found))
        assert rows <= (20 if "created_at" in sort and not filtered else 100), (variant, found)


async def test_a_list_that_is_known_costs_one_row(crowd: Connection) -> None:
    epoch = await crowd.fetchval("SELECT epoch FROM task_clocks WHERE user_id = 'user 7'")
    chosen = ", 'TODO', false, 'LOW', '{a}', NULL, NULL, NULL, NULL, NULL, 'x'"
    for variant, filters in (("title", ""), ("title filtered", chosen)):
        found = await plan(crowd, SELECT_PAGE[variant], f"'user 7', {epoch}, 100, 20, 0{filters}")
        scans = [line for line in found.splitlines() if " Scan " in line and "never executed" not in line]
        read = [line for line in scans if "CTE Scan" not in line]
        assert all("task_clocks_pkey" in line for line in read), found
        assert 1 <= len(read) <= 2
