"""The rows that changes of tasks leave, and what taking changes back makes of the tasks."""

import random
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tests.queries.test_changes import new_user
from tests.queries.test_tasks import add, new_task
from todo_service.postgres.connection import Connection
from todo_service.queries import clocks, task_changes, tasks, undo
from todo_service.queries.task_changes import Origin
from todo_service.queries.task_rows import Changes, NewTask, TaskRow
from todo_service.queries.undo import Selection

ROWS = "SELECT * FROM task_changes WHERE user_id = $1 ORDER BY version"
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


def origin(user_id: str, source: str = "session", request_id: str = "request") -> Origin:
    return Origin(user_id, source, request_id)


async def test_each_change_leaves_a_row_with_the_task_before_it(db: Connection) -> None:
    ada = await new_user(db)
    by = origin(ada)
    task = await add(db, ada, origin=by)
    changed = await tasks.update(
        db, owner_id=ada, task_id=task.id, changes=Changes(status="COMPLETED"), operation="complete", origin=by
    )
    assert changed is not None
    assert await tasks.update(db, owner_id=ada, task_id=task.id, changes=Changes(status="COMPLETED"), origin=by)
    await tasks.delete(db, owner_id=ada, task_id=task.id, origin=by)
    kept = [dict(row) for row in await db.fetch(ROWS, ada)]
    assert [(row["version"], row["operation"], row["deletes"], row["previous"]) for row in kept] == [
        (1, "create", False, None), (2, "complete", False, 1), (3, "delete", True, 2),
    ]  # fmt: skip
    assert {(row["task_id"], row["actor_id"], row["source"], row["request_id"]) for row in kept} == {(task.id, *by)}
    befores = [tuple(row[name] for name in task_changes.CONTENT) for row in kept]
    assert befores == [(None,) * 10, content(task), content(changed)]


def content(task: TaskRow) -> tuple[Any, ...]:
    return tuple(getattr(task, name) for name in task_changes.CONTENT)


async def test_without_an_origin_only_deletions_are_kept(db: Connection) -> None:
    ada = await new_user(db)
    task = await add(db, ada)
    await tasks.update(db, owner_id=ada, task_id=task.id, changes=Changes(title="new"))
    await tasks.delete(db, owner_id=ada, task_id=task.id)
    [row] = await db.fetch(ROWS, ada)
    kept = {name for name, value in row.items() if value is not None}
    assert kept == {"user_id", "version", "task_id", "changed_at", "operation", "deletes"}


async def test_the_oldest_changes_of_a_user_go_and_deletions_lose_their_content(db: Connection) -> None:
    ada, bob = await new_user(db), await new_user(db)
    for user in (ada, bob):
        task, gone = await add(db, user, origin=origin(user)), await add(db, user, origin=origin(user))
        await tasks.delete(db, owner_id=user, task_id=gone.id, origin=origin(user))
        for title in ("a", "b"):
            await tasks.update(db, owner_id=user, task_id=task.id, changes=Changes(title=title), origin=origin(user))
    await task_changes.trim(db, owner_id=ada, keep=1)
    assert [(row["version"], row["title"]) for row in await db.fetch(ROWS, ada)] == [(3, None), (5, "a")]
    assert len(await db.fetch(ROWS, bob)) == 5


async def test_the_old_code_finds_and_leaves_its_tombstones(db: Connection) -> None:
    """The statements of the release before, through the view."""
    ada = await new_user(db)
    task = await add(db, ada, origin=origin(ada))
    await tasks.delete(db, owner_id=ada, task_id=task.id, origin=origin(ada))
    await db.execute(
        "INSERT INTO task_tombstones (user_id, version, id, deleted_at) SELECT $1, 7, $2, clock_timestamp()",
        ada,
        task.id,
    )
    rows = await db.fetch("SELECT version, id FROM task_tombstones WHERE user_id = $1 ORDER BY version", ada)
    assert [tuple(row) for row in rows] == [(2, task.id), (7, task.id)]
    assert (await db.fetch(ROWS, ada))[-1]["operation"] == "delete"
    await db.execute(
        """WITH stale AS (SELECT version FROM task_tombstones WHERE user_id = $1 AND version < 7)
        DELETE FROM task_tombstones AS stone USING stale WHERE stone.user_id = $1 AND stone.version = stale.version""",
        ada,
    )
    assert [row["version"] for row in await db.fetch(ROWS, ada)] == [1, 7]


async def test_a_change_that_was_not_kept_is_a_conflict(db: Connection) -> None:
    """Such as one of the release before, while it is replaced."""
    ada = await new_user(db)
    task = await add(db, ada, origin=origin(ada, "agent", "first"))
    await tasks.update(db, owner_id=ada, task_id=task.id, changes=Changes(title="new"), origin=origin(ada, "agent"))
    selection = Selection(30, source="agent", since=BEGINNING)
    assert [one.is_conflict for one in await undo.select(db, selection, owner_id=ada)] == [False]
    await tasks.update(db, owner_id=ada, task_id=task.id, changes=Changes(title="newer"))
    assert [one.is_conflict for one in await undo.select(db, selection, owner_id=ada)] == [True]


class History:
    """Random changes of one user's tasks by several sources, with all states in between."""

    def __init__(self, db: Connection, user_id: str, seed: int) -> None:
        self.db, self.user_id, self.random = db, user_id, random.Random(seed)  # noqa: S311
        self.writers: list[tuple[UUID, str, int]] = []  # task, source, version after it

    async def state(self) -> dict[UUID, tuple[Any, ...]]:
        rows = await self.db.fetch("SELECT * FROM tasks WHERE user_id = $1", self.user_id)
        names = [name for name in task_changes.CONTENT if name != "updated_at"]
        return {row["id"]: tuple(row[name] for name in names) for row in rows}

    async def change(self, source: str) -> None:
        ids, by = list(await self.state()), origin(self.user_id, source, f"{source} {self.random.randrange(4)}")
        action = self.random.choice(["create", "update", "update", "complete", "delete"]) if ids else "create"
        if action == "create":
            task = await add(self.db, self.user_id, random_task(self.random), origin=by)
            self.writers.append((task.id, source, task.version))
            return
        task_id, before = self.random.choice(ids), await clocks.select_version(self.db, owner_id=self.user_id)
        if action == "delete":
            await tasks.delete(self.db, owner_id=self.user_id, task_id=task_id, origin=by)
        else:
            changes = Changes(toggles_completed=True)
            if action == "update":
                changes = Changes(title=f"t{self.random.randrange(3)}", sets_description=True, description=None)
            await tasks.update(self.db, owner_id=self.user_id, task_id=task_id, changes=changes, origin=by)
        version = await clocks.select_version(self.db, owner_id=self.user_id)
        assert version is not None
        if version != before:
            self.writers.append((task_id, source, version))

    async def undo(self, selection: Selection, request_id: str, *, skip: bool = True) -> set[UUID]:
        """Take back changes as the last source; return the tasks in conflict."""
        candidates = await undo.select(self.db, selection, owner_id=self.user_id)
        conflicts = {one.task_id for one in candidates if one.is_conflict} if skip else set()
        versions = [one.version for one in candidates if one.task_id not in conflicts]
        by = origin(self.user_id, "undoer", request_id)
        done = await undo.apply(
            self.db, owner_id=self.user_id, max_tasks=1000, versions=versions, operation="undo", origin=by
        )
        assert done is not None
        assert [one.version for one in done] == sorted(one.version for one in done)
        assert len(done) == len(versions)
        return conflicts


def random_task(of: random.Random) -> NewTask:
    return new_task()._replace(title=f"t{of.randrange(9)}", description="d", tags=["x"][: of.randrange(2)])


@pytest.mark.parametrize("seed", range(12))
async def test_undo_of_one_source_leaves_what_others_wrote_last_and_undo_of_it_is_the_state_before(
    db: Connection, seed: int
) -> None:
    user_id = await new_user(db)
    history = History(db, user_id, seed)
    sources = ("one", "two", "three")
    for _ in range(60):
        await history.change(history.random.choice(sources))
    before, last = await history.state(), {task_id: source for task_id, source, _ in history.writers}
    conflicts = await history.undo(Selection(30, source="one", since=BEGINNING), "first undo")
    after = await history.state()
    for task_id, source in last.items():
        if source != "one":
            assert after.get(task_id) == before.get(task_id), "the last writer was another"
    of_one = {task_id for task_id, source, _ in history.writers if source == "one"}
    touched = {task_id for task_id in {*before, *after} if before.get(task_id) != after.get(task_id)}
    assert touched <= of_one - conflicts
    await counts_agree(db, user_id)
    again = await undo.select(db, Selection(30, source="one", since=BEGINNING), owner_id=user_id)
    assert {one.task_id for one in again} <= conflicts, "the same undo once more changes nothing"
    await history.undo(Selection(30, request_id="first undo"), "second undo")
    assert await history.state() == before
    await counts_agree(db, user_id)


@pytest.mark.parametrize("seed", range(6))
async def test_going_back_to_any_version_is_the_state_at_that_version(db: Connection, seed: int) -> None:
    user_id = await new_user(db)
    history = History(db, user_id, seed)
    states: dict[int, dict[UUID, tuple[Any, ...]]] = {0: {}}
    for _ in range(30):
        await history.change(history.random.choice(("one", "two")))
        version = await clocks.select_version(db, owner_id=user_id)
        assert version is not None
        states[version] = await history.state()
    for version in history.random.sample(sorted(states), 8):
        await history.undo(Selection(30, to_version=version), f"to {version}", skip=False)
        assert await history.state() == states[version]
        await counts_agree(db, user_id)


async def counts_agree(db: Connection, user_id: str) -> None:
    """The clock counts the tasks, and versions of tasks and of changes are gapless."""
    row = await db.fetchrow(
        """SELECT task_count = (SELECT count(*) FROM tasks WHERE user_id = $1) AS counted,
            version = (SELECT count(*) FROM task_changes WHERE user_id = $1) AS gapless,
            (SELECT bool_and(version = (SELECT max(version) FROM task_changes AS change
                WHERE change.user_id = $1 AND change.task_id = tasks.id)) FROM tasks WHERE user_id = $1) AS newest
        FROM task_clocks WHERE user_id = $1""",
        user_id,
    )
    assert row is not None
    assert (row["counted"], row["gapless"], row["newest"] is not False) == (True, True, True)
