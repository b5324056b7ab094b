"""The statements on tasks, each also as the other user, and each within one round trip."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from todo_service import errors
from todo_service.postgres.connection import Connection
from todo_service.queries import clocks, task_lists, tasks, users
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.task_changes import Origin
from todo_service.queries.task_lists import ListSpec, Page
from todo_service.queries.task_rows import Changes, NewTask, TaskRow


def new_task(title: str = "a task", **others: Any) -> NewTask:
    return NewTask(uuid4(), title, None, "TODO", "MEDIUM", None, None, [])._replace(**others)


async def add(db: Connection, owner_id: str, task: NewTask | None = None, *, origin: Origin | None = None) -> TaskRow:
    row = await tasks.insert(db, owner_id=owner_id, max_tasks=100, task=task or new_task(), origin=origin)
    assert row is not None
    assert row.is_new
    return row.task


async def select(db: Connection, owner_id: str, task_id: UUID) -> TaskRow | None:
    key = (owner_id, task_id)
    return (await tasks.select(db, [key])).get(key)


@pytest_asyncio.fixture
async def ada(db: Connection) -> str:
    """A user."""
    return await _user(db, "ada")


@pytest_asyncio.fixture
async def bob(db: Connection) -> str:
    """Another user."""
    return await _user(db, "bob")


async def _user(db: Connection, name: str) -> str:
    email = f"{name}@example.com"
    row = await users.insert(db, user_id=name, email=email, email_key=email, password_hash="x", full_name=None)
    return row.id


async def page(db: Connection, owner_id: str, **spec: Any) -> Page:
    found = await task_lists.select_page(db, owner_id=owner_id, spec=ListSpec("-created_at", **spec))
    assert found is not None
    return found


async def version(db: Connection, owner_id: str) -> int | None:
    return await clocks.select_version(db, owner_id=owner_id)


async def test_insert_stamps_the_task_with_the_raised_clock(db: Connection, ada: str) -> None:
    due = datetime(2026, 12, 24, 17, tzinfo=UTC)
    task = new_task("t", description="d", status="COMPLETED", priority="LOW", due_at=due, tags=["a"])
    row = await add(db, ada, task)
    assert (row.id, row.user_id, row.title, row.description, row.status) == (task.id, ada, "t", "d", "COMPLETED")
    assert (row.priority, row.due_at, row.due_on, row.tags, row.version) == ("LOW", due, None, ["a"], 1)
    assert row.created_at == row.updated_at == row.completed_at
    assert (await add(db, ada, new_task(due_on=date(2026, 12, 24)))).version == 2
    assert await clocks.select_version(db, owner_id=ada) == 2


async def test_insert_stops_at_the_limit_and_without_a_clock(db: Connection, ada: str) -> None:
    await add(db, ada)
    assert await tasks.insert(db, owner_id=ada, max_tasks=1, task=new_task()) is None
    assert await tasks.insert(db, owner_id="nobody", max_tasks=1, task=new_task()) is None
    assert await clocks.select_version(db, owner_id=ada) == 1
    assert await clocks.select_version(db, owner_id="nobody") is None


async def test_a_newcomer_is_made_once(db: Connection, ada: str) -> None:
    for email in ("o@example.com", "new@example.com"):
        await users.insert_newcomer(db, user_id="outsider", email=email)
        row = await add(db, "outsider")
    assert (row.user_id, row.version) == ("outsider", 2)
    user = await users.select(db, user_id="outsider")
    assert user is not None
    assert (user.email, user.role, user.is_active, user.password_hash) == ("o@example.com", "user", True, None)
    await users.insert_newcomer(db, user_id=ada, email="x@example.com")
    kept = await users.select(db, user_id=ada)
    assert kept is not None
    assert kept.email == "ada@example.com", "a row that is there stays as it is"


async def test_select_is_the_owners_alone(db: Connection, ada: str, bob: str) -> None:
    row = await add(db, ada)
    assert await select(db, ada, row.id) == row
    assert await select(db, bob, row.id) is None


@pytest.mark.parametrize(
    "changes",
    [
        Changes(title="new"),
        Changes(sets_description=True, description="d"),
        Changes(status="IN_PROGRESS"),
        Changes(completed=True),
        Changes(toggles_completed=True),
        Changes(priority="URGENT"),
        Changes(sets_due=True, due_on=date(2026, 12, 24)),
        Changes(sets_due=True, due_at=datetime(2026, 12, 24, tzinfo=UTC)),
        Changes(tags=["x"]),
    ],
)
async def test_update_changes_one_field_and_nothing_twice(db: Connection, ada: str, bob: str, changes: Changes) -> None:
    before = await add(db, ada)
    after = await tasks.update(db, owner_id=ada, task_id=before.id, changes=changes)
    assert after is not None
    assert after.version == 2
    assert after.updated_at > before.updated_at
    assert after == await select(db, ada, before.id)
    if not changes.toggles_completed:
        assert await tasks.update(db, owner_id=ada, task_id=before.id, changes=changes) == after
    assert await tasks.update(db, owner_id=bob, task_id=before.id, changes=changes) is None
    assert [await clocks.select_version(db, owner_id=owner) for owner in (ada, bob)] == [2, 0]


async def test_delete_lowers_the_count_and_raises_the_version(db: Connection, ada: str, bob: str) -> None:
    row = await add(db, ada)
    assert await tasks.delete(db, owner_id=bob, task_id=row.id) is None
    assert await tasks.delete(db, owner_id=ada, task_id=row.id) == 2
    assert await tasks.delete(db, owner_id=ada, task_id=row.id) is None
    assert await tasks.delete(db, owner_id=ada, task_id=UUID(int=0)) is None
    assert (await page(db, ada)).total == 0
    assert await version(db, ada) == 2


async def test_a_first_write_that_meets_a_deletion_is_whole_or_asks_to_be_tried_again(database_url: str) -> None:
    """Neither waits for the other for ever, and whatever is left is gapless."""
    owner_id, connections = uuid4().hex, [await asyncpg.connect(database_url) for _ in range(4)]
    refused: set[str | None] = set()

    async def write(own: Connection) -> None:
        for _ in range(60):
            try:
                if await tasks.insert(own, owner_id=owner_id, max_tasks=1000, task=new_task()) is None:
                    await users.insert_newcomer(own, user_id=owner_id, email=None)
            except asyncpg.IntegrityConstraintViolationError as error:
                refused.add(error.constraint_name)

    async def delete(own: Connection) -> None:
        for _ in range(60):
            await own.execute("DELETE FROM users WHERE id = $1", owner_id)

    await asyncio.gather(*(write(own) for own in connections[:3]), delete(connections[3]))
    assert refused <= {"task_clocks_user_fkey"}
    assert isinstance(errors.from_constraint("task_clocks_user_fkey"), errors.Overloaded)
    await write(connections[0])
    left = await page(connections[0], owner_id)
    assert left.stamp is not None
    assert [task.version for task in left.tasks] == list(range(left.stamp.version, 0, -1))
    assert left.total == left.stamp.version
    for connection in connections:
        await connection.close()


async def test_while_a_users_tasks_are_held_nobody_else_changes_them(database_url: str) -> None:
    """What an import has read of them is still so when it writes."""
    holder, writer = [await asyncpg.connect(database_url) for _ in range(2)]
    owner_id = await _user(holder, uuid4().hex)
    row = await add(holder, owner_id)
    for change in (
        lambda: add(writer, owner_id),
        lambda: tasks.update(writer, owner_id=owner_id, task_id=row.id, changes=Changes(toggles_completed=True)),
        lambda: tasks.delete(writer, owner_id=owner_id, task_id=row.id),
    ):
        async with holder.transaction():
            version = await clocks.lock(holder, owner_id=owner_id)
            changing = asyncio.ensure_future(change())
            await asyncio.sleep(0.1)
            assert not changing.done()
            assert await clocks.select_version(holder, owner_id=owner_id) == version
        await changing
    for connection in (holder, writer):
        await connection.close()


async def test_an_audited_change_has_one_line_and_none_has_none(db: Connection, ada: str) -> None:
    act = AuditEntry("task_changed", "admin", "request-1", "PATCH")
    row = await add(db, ada)

    async def lines() -> int:
        count: int = await db.fetchval("SELECT count(*) FROM audit_log WHERE subject_id = $1", ada)
        return count

    for title, count in (("a task", 0), ("new", 1), ("new", 1)):
        changed = await tasks.update(db, owner_id=ada, task_id=row.id, changes=Changes(title=title), audit=act)
        assert changed is not None
        assert (changed.title, await lines()) == (title, count)
    assert await tasks.update(db, owner_id=ada, task_id=UUID(int=0), changes=Changes(title="t"), audit=act) is None
    assert await tasks.delete(db, owner_id=ada, task_id=UUID(int=0), audit=act) is None
    for versions in ([1], [2]):
        try:
            await tasks.delete(db, owner_id=ada, task_id=row.id, if_versions=versions, audit=act)
        except errors.PreconditionFailed:
            assert await lines() == 1
    assert await lines() == 2


async def test_a_task_that_is_there_is_returned_whatever_the_limit(db: Connection, ada: str) -> None:
    first = new_task()
    row = await add(db, ada, first)
    for limit in (1, 100):
        again = await tasks.insert(db, owner_id=ada, max_tasks=limit, task=first._replace(title="other"))
        assert again is not None
        assert (again.is_new, again.task) == (False, row)
    assert await version(db, ada) == 1
