"""Cursors of delta sync: whose they are, what is none, and when they end."""

import base64
import random
from uuid import uuid4

import asyncpg

from tests.client import Api, User
from tests.commands.test_users import run
from tests.conftest import make_settings, run_sql, running_service, template_name, temporary_database
from tests.replica import SYNC, Replica, made_of, parts_of, refused, remove, sync, table
from tests.routes.test_sessions import refresh, sign_in, until_refused
from tests.routes.test_tasks import created
from todo_service.queries import expired_changes

SERVICE_TOKEN = "another-services-token-0123456789-abc"


async def test_a_cursor_of_another_user_is_a_validation_error(api: Api, ada: User, bob: User) -> None:
    await created(api, ada)
    for cursor in ((await sync(api, ada)).body["cursor"], (await sync(api, ada, limit=1)).body["cursor"]):
        answer = await sync(api, bob, cursor)
        assert (answer.status, answer.failing()) == (422, {"cursor": "cursor"})
        assert ada.id not in answer.raw.decode()


async def test_what_is_no_cursor_is_a_validation_error(api: Api, ada: User) -> None:
    await created(api, ada)
    good = (await sync(api, ada)).body["cursor"]
    parts = parts_of(good)
    wrong = [good[:-1], good + "A", good + "=", " " + good, good[:-1] + "+", good[:-1] + "%0A", good[::-1], good * 150]
    wrong += ["0", "null", "%00", "%00" * 40, "%ED%A0%80", "%FF", "9" * 30, "9" * 40, "A" * 40, "-" * 40, "x" * 6_000]
    wrong += ["é" * 40, "%D9%A0" * 40, "eyJzb3J0IjoiLWNyZWF0ZWRfYXQiLCJhZnRlciI6WzFdfQ", str(uuid4()), "../../etc"]
    wrong += [base64.urlsafe_b64encode(random.randbytes(30)).decode() for _ in range(200)]  # noqa: S311
    for changed in ((2, -2), (2, -(2**63)), (3, -1), (4, -1), (0, b"s2"), (1, b"\0\0\0\0"), (2, -1)):
        forged = list(parts)
        forged[changed[0]] = changed[1]
        wrong.append(made_of(forged))
    for cursor in wrong:
        answer = await sync(api, ada, cursor)
        assert (answer.status, answer.failing()) == (422, {"cursor": "cursor"}), cursor
    too_long = await sync(api, ada, good * 256)
    assert (too_long.status, too_long.problem()) == (414, "uri-too-long"), "HTTP's own limit, before any route"
    for changed in ((2, 2**63 - 1), (3, 2**63 - 1), (4, 2**63 - 1)):
        forged = list(parts)
        forged[changed[0]] = changed[1]
        assert await refused(api, ada, made_of(forged))
    assert not await refused(api, ada, good)


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
    await db.execute("UPDATE task_changes SET changed_at = now() - interval '31 days' WHERE user_id = $1", user.id)
    await expired_changes.delete_expired(db, at_most=100_000)
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
            async with running_service(make_settings(url)) as api:
                lost = Replica(api, ada, before.cursor)
                await created(api, ada, title="lost")
                await lost.catch_up()
            async with running_service(make_settings(backup)) as api:
                assert await refused(api, ada, lost.cursor), "from the future"
                assert not await refused(api, ada, before.cursor)
                done = await run("new-epoch", "--yes", DATABASE_URL=backup)
                assert (done.returncode, done.stdout) == (0, "1 users have a new epoch; every session has ended\n")
                await until_refused(api, ada.token)
                assert (await refresh(api, ada.refresh_token)).status == 401
                ada = User(ada.id, ada.email, (await sign_in(api, ada))["access_token"])
                assert await refused(api, ada, before.cursor)
                for _ in range(5):
                    await created(api, ada, title="another history")
                assert await refused(api, ada, lost.cursor), "though the version is one there is again"
                anew = Replica(api, ada)
                await anew.catch_up()
                assert anew.tasks == await table(api, ada)
