"""Waiting for changes in a sync: at once where the change is made, within two seconds elsewhere, and never missed."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession

from tests.auth_server import SHARED_SECRET, shared
from tests.client import Answer, Api, User
from tests.conftest import make_settings, run_sql, running_service
from tests.replica import sync
from tests.routes.test_sessions import sign_in, until_refused
from tests.routes.test_tasks import created

WAIT = "/api/v1/sync?cursor={}&wait={}"


async def timed(request: Any) -> tuple[float, Answer]:
    began = time.monotonic()
    answer = await request
    assert answer.status == 200, answer.raw
    return time.monotonic() - began, answer


async def cursor_of(api: Api, user: User) -> str:
    return str((await sync(api, user)).body["cursor"])


async def test_a_change_that_is_there_is_answered_at_once(api: Api, ada: User) -> None:
    cursor = await cursor_of(api, ada)
    task = await created(api, ada)
    seconds, answer = await timed(api.get(WAIT.format(cursor, 30), as_=ada))
    assert (seconds < 5, [change["id"] for change in answer.body["changes"]]) == (True, [task["id"]])
    seconds, answer = await timed(api.get("/api/v1/sync?wait=30", as_=ada))
    assert (seconds < 5, len(answer.body["changes"])) == (True, 1)


@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_a_change_ends_the_wait(api: Api, ada: User, database_url: str, is_elsewhere: bool) -> None:
    cursor = await cursor_of(api, ada)
    async with running_service(make_settings(database_url)) as other:
        waiting = asyncio.create_task(timed(api.get(WAIT.format(cursor, 30), as_=ada)))
        await asyncio.sleep(0.3)
        task = await created(other if is_elsewhere else api, ada)
        seconds, answer = await waiting
    assert [change["id"] for change in answer.body["changes"]] == [task["id"]]
    assert seconds < 10


@pytest.mark.parametrize("act", ["batch", "import", "delete", "complete"])
async def test_every_kind_of_change_ends_it(api: Api, ada: User, act: str) -> None:
    task = await created(api, ada)
    cursor = await cursor_of(api, ada)
    waiting = asyncio.create_task(timed(api.get(WAIT.format(cursor, 30), as_=ada)))
    await asyncio.sleep(0.2)
    path = f"/api/v1/tasks/{task['id']}"
    match act:
        case "batch":
            await api.post("/api/v1/tasks/batch", {"operations": [{"op": "delete", "id": task["id"]}]}, as_=ada)
        case "import":
            await api.post("/api/v1/import", {"tasks": [{"title": "t"}]}, as_=ada)
        case "delete":
            await api.delete(path, as_=ada)
        case "complete":
            await api.patch(f"{path}/complete", as_=ada)
    seconds, answer = await waiting
    assert (seconds < 10, len(answer.body["changes"])) == (True, 1)


async def test_without_a_change_the_answer_comes_when_the_time_is_over(api: Api, ada: User, bob: User) -> None:
    cursor = await cursor_of(api, ada)
    waiting = asyncio.create_task(timed(api.get(WAIT.format(cursor, 2), as_=ada)))
    await asyncio.sleep(0.2)
    await created(api, bob)
    seconds, answer = await waiting
    assert seconds >= 2
    assert answer.body == {"changes": [], "cursor": cursor, "has_more": False}


async def test_a_write_that_changes_nothing_does_not_end_it(api: Api, ada: User) -> None:
    task = await created(api, ada, title="same")
    cursor = await cursor_of(api, ada)
    waiting = asyncio.create_task(timed(api.get(WAIT.format(cursor, 2), as_=ada)))
    await asyncio.sleep(0.2)
    assert (await api.patch(f"/api/v1/tasks/{task['id']}", {"title": "same"}, as_=ada)).status == 200
    seconds, answer = await waiting
    assert (seconds >= 2, answer.body["changes"]) == (True, [])


async def test_a_user_without_a_task_waits_for_the_first(database_url: str) -> None:
    async with running_service(make_settings(database_url, better_auth_secret=SHARED_SECRET)) as api:
        outside = User(uuid4().hex, "", "")
        outside = User(outside.id, "", shared(sub=outside.id))
        waiting = asyncio.create_task(timed(api.get("/api/v1/sync?wait=30", as_=outside)))
        await asyncio.sleep(0.2)
        task = await created(api, outside)
        seconds, answer = await waiting
    assert (seconds < 10, [change["id"] for change in answer.body["changes"]]) == (True, [task["id"]])


async def test_a_cursor_that_expires_meanwhile_is_410(api: Api, ada: User, database_url: str) -> None:
    await created(api, ada)
    cursor = await cursor_of(api, ada)
    waiting = asyncio.create_task(api.get(WAIT.format(cursor, 30), as_=ada))
    await asyncio.sleep(0.2)
    await run_sql(database_url, f"UPDATE task_clocks SET epoch = epoch + 1 WHERE user_id = '{ada.id}'")
    answer = await waiting
    assert (answer.status, answer.problem()) == (410, "cursor-expired")


async def test_a_credential_that_ends_meanwhile_sees_no_change(api: Api, ada: User) -> None:
    cursor = await cursor_of(api, ada)
    other = User(ada.id, ada.email, (await sign_in(api, ada))["access_token"])
    waiting = asyncio.create_task(api.get(WAIT.format(cursor, 30), as_=ada))
    await asyncio.sleep(0.2)
    assert (await api.post("/api/v1/auth/logout", {"refresh_token": ada.refresh_token})).status == 204
    await until_refused(api, ada.token)
    await created(api, other)
    answer = await waiting
    assert (answer.status, answer.problem()) == (401, "unauthenticated")


async def test_the_eleventh_of_a_user_is_429_and_all_others_go_on(api: Api, ada: User, bob: User) -> None:
    cursor = await cursor_of(api, ada)
    waiting = [asyncio.create_task(api.get(WAIT.format(cursor, 20), as_=ada)) for _ in range(10)]
    await asyncio.sleep(0.5)
    refused = await api.get(WAIT.format(cursor, 20), as_=ada)
    assert (refused.status, refused.problem(), refused.headers["Retry-After"]) == (429, "too-many-streams", "30")
    assert (await api.get(WAIT.format(cursor, 0), as_=ada)).status == 200
    assert (await api.get("/api/v1/sync?wait=1", as_=bob)).status == 200
    await created(api, ada)
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
    assert (await api.get(WAIT.format(cursor, 1), as_=ada)).status == 200


async def test_waiting_is_not_busy_and_has_a_bound(database_url: str) -> None:
    settings = make_settings(database_url, max_requests_in_flight=4, max_streams=12)
    async with running_service(settings) as api:
        users = [await api.new_user() for _ in range(13)]
        waiting = []
        for user in users[:12]:
            waiting.append(asyncio.create_task(api.get("/api/v1/sync?wait=10", as_=user)))
            await asyncio.sleep(0.2)
        full = await api.get("/api/v1/sync?wait=1", as_=users[12])
        assert (full.status, full.problem()) == (503, "overloaded")
        assert (await api.get("/api/v1/tasks", as_=users[12])).status == 200
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}


async def test_the_end_of_the_process_ends_the_wait(database_url: str) -> None:
    async with ClientSession() as session:
        async with running_service(make_settings(database_url)) as api:
            ada, client = await api.new_user(), Api(session, api.base)
            waiting = asyncio.create_task(timed(client.get("/api/v1/sync?wait=30", as_=ada)))
            await asyncio.sleep(0.3)
        seconds, answer = await waiting
    assert (seconds < 10, answer.body["changes"]) == (True, [])


async def test_the_wait_is_no_part_of_the_duration(api: Api, ada: User, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    await api.get("/api/v1/sync?wait=1", as_=ada)
    (line,) = [line for line in "".join(capfd.readouterr()).splitlines() if "route=/api/v1/sync" in line]
    ms = float(line.partition(" ms=")[2].split()[0])
    assert ms < 900


@pytest.mark.parametrize("wait", ["-1", "31", "1.5", "x", ""])
async def test_a_wrong_wait_is_a_validation_error(api: Api, ada: User, wait: str) -> None:
    answer = await api.get(f"/api/v1/sync?wait={wait}", as_=ada)
    assert (answer.status, list(answer.failing())) == (422, ["wait"])


async def test_nothing_is_missed_by_twenty_writers_and_ten_readers(api: Api, database_url: str) -> None:
    """Every reader sees every version once, in order, from one worker or the other."""
    ada = await api.new_user()
    async with running_service(make_settings(database_url)) as other:
        workers = [api, other]
        start = await cursor_of(api, ada)

        async def write(number: int) -> None:
            for step in range(10):
                await created(workers[(number + step) % 2], ada, title=f"{number} {step}")
                await asyncio.sleep(0.02)

        async def read(number: int) -> list[int]:
            seen: list[int] = []
            cursor = start
            while len(seen) < 200:
                answer = await workers[number % 2].get(WAIT.format(cursor, 10), as_=ada)
                assert answer.status == 200
                assert answer.body["changes"], "the wait is longer than any pause of the writers"
                seen += [change["task"]["version"] for change in answer.body["changes"]]
                cursor = answer.body["cursor"]
            return seen

        readers = [asyncio.create_task(read(number)) for number in range(10)]
        await asyncio.gather(*(write(number) for number in range(20)))
        async with asyncio.timeout(60):
            for seen in await asyncio.gather(*readers):
                assert seen == list(range(1, 201))
