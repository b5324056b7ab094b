"""Delta sync as a client meets it: a cursor never misses and never repeats a committed change."""

import asyncio
import base64
import random
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.client import Answer, Api, User
from tests.commands.test_users import run
from tests.conftest import make_settings, run_sql, running_service, sibling, template_name, temporary_database
from tests.process import served
from tests.queries.test_tombstones import bury
from tests.routes.test_sessions import only_administrators
from tests.routes.test_tasks import created
from todo_service.queries import tombstones

SYNC = "/api/v1/sync"
SERVICE_TOKEN = "another-services-token-0123456789-abc"
WRITERS = 8
SECONDS = 20


def position(cursor: str) -> int:
    """The version a cursor stands at: the only place where the tests look into one."""
    found: int = struct.unpack(">2s4sqqq", base64.urlsafe_b64decode(cursor))[3]
    return found


@dataclass
class Replica:
    """A client that follows the changes of a user: the loop of docs/api.md, with its eyes open."""

    api: Api
    user: User
    cursor: str = ""
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    deletions: list[str] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    async def page(self, limit: int = 500) -> bool:
        """Take one page; returns whether there is another one."""
        answer = await self.api.get(f"{SYNC}?cursor={self.cursor}&limit={limit}", as_=self.user)
        assert answer.status == 200, answer.raw
        assert len(answer.body["changes"]) <= limit
        for change in answer.body["changes"]:
            self._apply(change)
        self.cursor = answer.body["cursor"]
        self.positions.append(position(self.cursor))
        return bool(answer.body["has_more"])

    async def catch_up(self, limit: int = 500) -> None:
        while await self.page(limit):
            pass

    def _apply(self, change: dict[str, Any]) -> None:
        if change["deleted"]:
            assert set(change) == {"id", "deleted"}
            self.deletions.append(change["id"])
            self.tasks.pop(change["id"], None)
        else:
            assert set(change) == {"id", "deleted", "task"}
            assert change["task"]["id"] == change["id"]
            self.versions.append(change["task"]["version"])
            self.tasks[change["id"]] = change["task"]


async def table(api: Api, user: User) -> dict[str, dict[str, Any]]:
    """What the list says the user has."""
    found: dict[str, dict[str, Any]] = {}
    for skip in range(0, 10_000, 1000):
        answer = await api.get(f"/api/v1/tasks?limit=1000&skip={skip}", as_=user)
        found |= {task["id"]: task for task in answer.body["tasks"]}
        if len(answer.body["tasks"]) < 1000:
            break
    return found


async def remove(api: Api, user: User, task: dict[str, Any]) -> None:
    assert (await api.delete(f"/api/v1/tasks/{task['id']}", as_=user)).status == 204


async def sync(api: Api, user: User, cursor: str = "", **parameters: object) -> Answer:
    more = "".join(f"&{name}={value}" for name, value in parameters.items())
    return await api.get(f"{SYNC}?cursor={cursor}{more}", as_=user)


async def refused(api: Api, user: User, cursor: str) -> bool:
    """Whether the cursor has expired; the answer says what to do."""
    answer = await sync(api, user, cursor)
    if answer.status == 200:
        return False
    assert (answer.status, answer.problem()) == (410, "cursor-expired")
    assert "Start over without a cursor" in answer.body["detail"]
    return True


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


async def test_a_cursor_of_another_user_is_a_validation_error(api: Api, ada: User, bob: User) -> None:
    await created(api, ada)
    for cursor in ((await sync(api, ada)).body["cursor"], (await sync(api, ada, limit=1)).body["cursor"]):
        answer = await sync(api, bob, cursor)
        assert (answer.status, answer.failing()) == (422, {"cursor": "cursor"})
        assert ada.id not in answer.raw.decode()


async def test_what_is_no_cursor_is_a_validation_error(api: Api, ada: User) -> None:
    await created(api, ada)
    good = (await sync(api, ada)).body["cursor"]
    parts = struct.unpack(">2s4sqqq", base64.urlsafe_b64decode(good))
    wrong = [good[:-1], good + "A", good + "=", " " + good, good[:-1] + "+", good[:-1] + "%0A", good[::-1], good * 150]
    wrong += ["0", "null", "%00", "%00" * 40, "%ED%A0%80", "%FF", "9" * 30, "9" * 40, "A" * 40, "-" * 40, "x" * 6_000]
    wrong += ["é" * 40, "%D9%A0" * 40, "eyJzb3J0IjoiLWNyZWF0ZWRfYXQiLCJhZnRlciI6WzFdfQ", str(uuid4()), "../../etc"]
    wrong += [base64.urlsafe_b64encode(random.randbytes(30)).decode() for _ in range(200)]  # noqa: S311
    for changed in ((2, -2), (2, -(2**63)), (3, -1), (4, -1), (0, b"s2"), (1, b"\0\0\0\0")):
        forged = list(parts)
        forged[changed[0]] = changed[1]
        wrong.append(base64.urlsafe_b64encode(struct.pack(">2s4sqqq", *forged)).decode())
    for cursor in wrong:
        answer = await sync(api, ada, cursor)
        assert (answer.status, answer.failing()) == (422, {"cursor": "cursor"}), cursor
    too_long = await sync(api, ada, good * 256)
    assert (too_long.status, too_long.problem()) == (400, "bad-request"), "HTTP's own limit, before any route"
    for changed in ((2, 2**63 - 1), (3, 2**63 - 1), (4, 2**63 - 1)):
        forged = list(parts)
        forged[changed[0]] = changed[1]
        assert await refused(api, ada, base64.urlsafe_b64encode(struct.pack(">2s4sqqq", *forged)).decode())
    assert not await refused(api, ada, good)


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
    start = base64.urlsafe_b64encode(_at_start((await sync(api, ada)).body["cursor"])).decode()
    for limit, expected in ((None, 500), (1000, 1000), (1, 1)):
        answer = await (sync(api, ada, start) if limit is None else sync(api, ada, start, limit=limit))
        assert (len(answer.body["changes"]), answer.body["has_more"]) == (expected, True)


async def fill_with_deletions(database_url: str, user: User) -> None:
    db = await asyncpg.connect(database_url)
    await bury(db, user.id, days=[1.0] * 1200)
    await db.close()


def _at_start(cursor: str) -> bytes:
    """The cursor of a client that was there from the first version on."""
    kind, owner, epoch, *_ = struct.unpack(">2s4sqqq", base64.urlsafe_b64decode(cursor))
    return struct.pack(">2s4sqqq", kind, owner, epoch, 0, 0)


async def test_reading_is_one_round_trip(api: Api, ada: User, capfd: pytest.CaptureFixture[str]) -> None:
    await created(api, ada)
    capfd.readouterr()
    await sync(api, ada)
    assert "statements=1 " in capfd.readouterr().out


async def test_a_user_from_elsewhere_syncs_before_the_first_task(database_url: str) -> None:
    """Nothing, with a cursor that leads to everything once there is something, and ends when the user does."""
    by = {"X-Service-Auth": SERVICE_TOKEN, "X-User-ID": uuid4().hex}
    async with running_service(make_settings(database_url, service_auth_token=SERVICE_TOKEN)) as api:
        nothing = (await api.get(SYNC, headers=by)).body
        assert (nothing["changes"], nothing["has_more"]) == ([], False)
        again = (await api.get(f"{SYNC}?cursor={nothing['cursor']}", headers=by)).body
        assert again == nothing
        first = (await api.post("/api/v1/tasks", {"title": "t"}, headers=by)).body
        second = (await api.post("/api/v1/tasks", {"title": "u"}, headers=by)).body
        await api.delete(f"/api/v1/tasks/{first['id']}", headers=by)
        found = (await api.get(f"{SYNC}?cursor={nothing['cursor']}", headers=by)).body
        assert [change["id"] for change in found["changes"]] == [second["id"]]
        foreign = await api.get(f"{SYNC}?cursor={nothing['cursor']}", headers=by | {"X-User-ID": "somebody"})
        assert (foreign.status, foreign.failing()) == (422, {"cursor": "cursor"})
        await run_sql(database_url, f"DELETE FROM users WHERE id = '{by['X-User-ID']}'")
        gone = await api.get(f"{SYNC}?cursor={found['cursor']}", headers=by)
        assert (gone.status, gone.problem()) == (410, "cursor-expired")
        await api.post("/api/v1/tasks", {"title": "v"}, headers=by)
        assert (await api.get(f"{SYNC}?cursor={found['cursor']}", headers=by)).status == 410


async def age(database_url: str, user: User) -> None:
    """Make all tombstones of the user expire, and purge them."""
    db = await asyncpg.connect(database_url)
    await db.execute("UPDATE task_tombstones SET deleted_at = now() - interval '31 days' WHERE user_id = $1", user.id)
    await tombstones.delete_expired(db, at_most=100_000)
    await db.close()


async def test_an_older_cursor_than_the_deletions_that_are_known_is_410(
    api: Api, ada: User, bob: User, database_url: str
) -> None:
    tasks = [await created(api, ada) for _ in range(3)]
    old, foreign = (await sync(api, ada)).body["cursor"], (await sync(api, bob)).body["cursor"]
    await remove(api, ada, tasks[0])
    still_good = (await sync(api, ada)).body["cursor"]
    await created(api, ada)
    assert not await refused(api, ada, old)
    await age(database_url, ada)
    assert await refused(api, ada, old)
    assert not await refused(api, ada, still_good), "the last deletion that was forgotten is one it knows"
    assert not await refused(api, bob, foreign)
    fresh = Replica(api, ada)
    await fresh.catch_up()
    assert fresh.tasks == await table(api, ada)


async def test_a_first_sync_in_pages_goes_on_across_a_purge(api: Api, ada: User, database_url: str) -> None:
    tasks = [await created(api, ada) for _ in range(6)]
    for n in (4, 5):
        await remove(api, ada, tasks[n])
    replica = Replica(api, ada)
    await replica.page(1)
    await age(database_url, ada)
    assert replica.positions == [1], "below the floor, but of what was forgotten it has never heard"
    await replica.page(1)
    await remove(api, ada, tasks[0])
    await replica.catch_up(1)
    assert replica.tasks == await table(api, ada)
    assert replica.deletions == [tasks[0]["id"]]
    assert await replica.page() is False


async def test_a_first_sync_in_pages_ends_where_a_deletion_of_its_time_is_forgotten(
    api: Api, ada: User, database_url: str
) -> None:
    tasks = [await created(api, ada) for _ in range(3)]
    replica = Replica(api, ada)
    await replica.page(1)
    await remove(api, ada, tasks[0])
    await age(database_url, ada)
    assert await refused(api, ada, replica.cursor)


async def test_a_cursor_from_before_a_restore_is_410(postgres_url: str) -> None:
    """A backup is a copy of the database's state: what was committed after it is lost."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        async with running_service(make_settings(url)) as api:
            ada = await api.new_user()
            await created(api, ada)
            before = Replica(api, ada)
            await before.catch_up()
        async with temporary_database(postgres_url, template=url.rpartition("/")[2]) as backup:
            assert backup == sibling(url, backup.rpartition("/")[2])
            async with running_service(make_settings(url)) as api:
                lost = Replica(api, ada, before.cursor)
                await created(api, ada, title="lost")
                await lost.catch_up()
            async with running_service(make_settings(backup)) as api:
                assert await refused(api, ada, lost.cursor), "from the future"
                assert not await refused(api, ada, before.cursor)
                done = await run("new-epoch", "--yes", DATABASE_URL=backup)
                assert (done.returncode, done.stdout) == (0, "1 users have a new epoch\n")
                assert await refused(api, ada, before.cursor)
                for _ in range(5):
                    await created(api, ada, title="another history")
                assert await refused(api, ada, lost.cursor), "though the version is one there is again"
                anew = Replica(api, ada)
                await anew.catch_up()
                assert anew.tasks == await table(api, ada)


async def write_at_random(api: Api, user: User, ids: list[str], deleted: Counter[str], until: float) -> int:
    """Create, update, toggle and delete; returns how many changes there were. Deleted ids are used again."""
    done = 0
    while asyncio.get_running_loop().time() < until:
        task_id = random.choice(ids)  # noqa: S311
        path = f"/api/v1/tasks/{task_id}"
        match random.randrange(5):  # noqa: S311
            case 0 | 1:
                answer = await api.post("/api/v1/tasks", {"title": "t", "id": task_id}, as_=user)
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
