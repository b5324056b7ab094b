"""Delta sync as a client meets it: a cursor never misses and never repeats a committed change."""

import asyncio
import random
from collections import Counter
from uuid import uuid4

import asyncpg
import pytest

from tests.client import Api, User
from tests.process import served
from tests.queries.test_expired_changes import bury
from tests.replica import SYNC, Replica, made_of, parts_of, remove, sync, table
from tests.routes.test_sessions import only_administrators
from tests.routes.test_tasks import created

WRITERS = 8
SECONDS = 20


async def test_no_cursor_means_everything(api: Api, ada: User) -> None:
    tasks = [await created(api, ada, title=f"task {n}") for n in range(4)]
    await remove(api, ada, tasks[1])
    tasks[0] = (await api.patch(f"/api/v1/tasks/{tasks[0]['id']}", {"title": "new"}, as_=ada)).body
    for path in (SYNC, f"{SYNC}?cursor=", f"{SYNC}/?limit=1000"):
        answer = await api.get(path, as_=ada)
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert set(answer.body) == {"changes", "cursor", "has_more"}
        expected = [{"id": task["id"], "deleted": False, "task": task} for task in (tasks[2], tasks[3], tasks[0])]
        assert answer.body["changes"] == expected, "live tasks in the order of versions, no tombstones"
        assert answer.body["has_more"] is False


async def test_a_cursor_gives_what_has_changed_since(api: Api, ada: User) -> None:
    first, second = await created(api, ada), await created(api, ada)
    cursor = (await sync(api, ada)).body["cursor"]
    await remove(api, ada, first)
    second = (await api.patch(f"/api/v1/tasks/{second['id']}/complete", as_=ada)).body
    third = await created(api, ada, due_date="2026-12-24", tags=["a"])
    answer = (await sync(api, ada, cursor)).body
    assert answer["changes"] == [
        {"id": first["id"], "deleted": True},
        {"id": second["id"], "deleted": False, "task": second},
        {"id": third["id"], "deleted": False, "task": third},
    ]
    nothing_new = (await sync(api, ada, answer["cursor"])).body
    assert nothing_new == {"changes": [], "cursor": answer["cursor"], "has_more": False}
    assert (await sync(api, ada, cursor)).body == answer, "an answer that was lost can be had again"


async def test_an_update_that_changes_nothing_is_no_change(api: Api, ada: User) -> None:
    task = await created(api, ada)
    cursor = (await sync(api, ada)).body["cursor"]
    await api.patch(f"/api/v1/tasks/{task['id']}", {"title": "a task"}, as_=ada)
    assert (await sync(api, ada, cursor)).body["changes"] == []


async def test_pages_have_as_many_changes_as_asked_for(api: Api, ada: User) -> None:
    tasks = [await created(api, ada) for _ in range(5)]
    replica = Replica(api, ada)
    assert [await replica.page(2) for _ in range(3)] == [True, True, False]
    assert replica.versions == [1, 2, 3, 4, 5]
    whole = Replica(api, ada)
    assert await whole.page(5) is False, "the last page is not followed by an empty one"
    assert whole.tasks == replica.tasks == {task["id"]: task for task in tasks}


async def test_what_is_changed_between_pages_is_neither_missed_nor_repeated(api: Api, ada: User) -> None:
    tasks = [await created(api, ada) for _ in range(6)]
    replica = Replica(api, ada)
    await replica.page(2)
    for n in (0, 3):  # one the client has, one it has not
        await api.patch(f"/api/v1/tasks/{tasks[n]['id']}", {"title": "new"}, as_=ada)
    for n in (1, 4):
        await remove(api, ada, tasks[n])
    await created(api, ada)
    await replica.catch_up(2)
    assert replica.tasks == await table(api, ada)
    assert replica.versions == [1, 2, 3, 6, 7, 8, 11]
    assert replica.positions == sorted(set(replica.positions))


async def test_a_task_deleted_and_made_again_under_its_id_is_there(api: Api, ada: User) -> None:
    task = await created(api, ada)
    following, late = Replica(api, ada), Replica(api, ada)
    await following.catch_up()
    await remove(api, ada, task)
    await created(api, ada, id=task["id"], title="again")
    for replica in (following, late):
        await replica.catch_up(1)
        assert replica.tasks == await table(api, ada)
    assert (following.deletions, late.deletions) == ([task["id"]], [])
    again = (await sync(api, ada, following.cursor)).body
    assert (again["changes"], again["has_more"]) == ([], False)


async def test_no_deletion_is_told_of_what_the_client_never_had(api: Api, ada: User) -> None:
    """Also while its first sync is still in pages."""
    tasks = [await created(api, ada) for _ in range(5)]
    for n in (1, 3):
        await remove(api, ada, tasks[n])
    replica = Replica(api, ada)
    await replica.catch_up(1)
    assert (replica.deletions, len(replica.tasks)) == ([], 3)
    await remove(api, ada, tasks[0])
    await replica.catch_up(1)
    assert replica.deletions == [tasks[0]["id"]]


async def test_everybody_syncs_their_own_tasks_administrators_too(
    api: Api, ada: User, bob: User, database_url: str
) -> None:
    await created(api, ada)
    own = await created(api, bob)
    async with only_administrators(database_url, bob):
        root = (await api.post("/api/v1/auth/login", {"email": bob.email, "password": "correct horse 9"})).body
        assert root["user"]["role"] == "admin"
        for token in (bob.token, root["access_token"]):
            answer = await api.get(f"{SYNC}?user_id={ada.id}", token=token)
            assert [change["task"] for change in answer.body["changes"]] == [own]


async def test_wrong_limits_and_repeated_parameters_are_validation_errors(api: Api, ada: User) -> None:
    for limit in ("0", "1001", "-1", "", "abc", "1_000", "%2B5", "１２", "1.0", "9" * 30, "1e3", "%00", "9" * 5000):
        answer = await sync(api, ada, limit=limit)
        assert (answer.status, list(answer.failing())) == (422, ["limit"]), limit
    both = await sync(api, ada, "x", limit=0)
    assert set(both.failing()) == {"cursor", "limit"}
    for name in ("cursor", "limit"):
        answer = await api.get(f"{SYNC}?{name}=1&{name}=1", as_=ada)
        assert (answer.status, answer.failing()) == (422, {name: "repeated"})


async def test_500_changes_are_a_page_unless_limit_says(api: Api, ada: User, database_url: str) -> None:
    await fill_with_deletions(database_url, ada)
    start = made_of(
        [*parts_of((await sync(api, ada)).body["cursor"])[:3], 0, 0]
    )  # of a client that was there from the first on
    for limit, expected in ((None, 500), (1000, 1000), (1, 1)):
        answer = await (sync(api, ada, start) if limit is None else sync(api, ada, start, limit=limit))
        assert (len(answer.body["changes"]), answer.body["has_more"]) == (expected, True)


async def fill_with_deletions(database_url: str, user: User) -> None:
    db = await asyncpg.connect(database_url)
    await bury(db, user.id, days=[1.0] * 1200)
    await db.close()


async def test_reading_is_one_round_trip(api: Api, ada: User, capfd: pytest.CaptureFixture[str]) -> None:
    await created(api, ada)
    capfd.readouterr()
    await sync(api, ada)
    assert "statements=1 " in capfd.readouterr().out


async def write_at_random(api: Api, user: User, ids: list[str], deleted: Counter[str], until: float) -> int:
    """Create, update, toggle and delete; returns how many changes there were. Deleted ids are used again."""
    done = 0
    while asyncio.get_running_loop().time() < until:
        task_id = random.choice(ids)  # noqa: S311
        path = f"/api/v1/tasks/{task_id}"
        match random.randrange(5):  # noqa: S311
            case 0 | 1:
                answer = await api.post("/api/v1/tasks", {"title": str(random.random()), "id": task_id}, as_=user)  # noqa: S311
            case 2:
                answer = await api.patch(path, {"title": str(random.random())}, as_=user)  # noqa: S311
            case 3:
                answer = await api.patch(path + "/complete", as_=user)
            case _:
                answer = await api.delete(path, as_=user)
                deleted[task_id] += answer.status == 204
        assert answer.status in {200, 201, 204, 404, 409}, answer.raw
        done += answer.status < 300
    return done


async def test_a_client_that_follows_holds_what_there_is(api: Api, ada: User, database_url: str) -> None:
    """Two services, eight writers at one user's tasks, and a client with small pages between them."""
    await created(api, ada)
    replica = Replica(api, ada)
    await replica.page()
    ids, deleted = [str(uuid4()) for _ in range(60)], Counter[str]()
    async with (
        served(DATABASE_URL=database_url, LOG_LEVEL="WARNING") as (_, first),
        served(DATABASE_URL=database_url, LOG_LEVEL="WARNING") as (_, second),
    ):
        until = asyncio.get_running_loop().time() + SECONDS
        writing = [
            asyncio.create_task(write_at_random((first, second)[n % 2], ada, ids, deleted, until))
            for n in range(WRITERS)
        ]
        while not all(task.done() for task in writing):
            replica.api = random.choice((first, second))  # noqa: S311
            await replica.page(random.randint(1, 7))  # noqa: S311
        changes = sum([await task for task in writing])
        await replica.catch_up(3)
        assert replica.tasks == await table(second, ada)
    assert changes > 500
    assert replica.positions == sorted(replica.positions)
    assert replica.positions[-1] == changes + 1, "every change has raised the clock by one"
    assert replica.versions == sorted(set(replica.versions)), "no change was repeated"
    assert Counter(replica.deletions) == deleted, "each deletion was told once"
