"""Each user's share: turns at what there are few of, and room for what is big."""

import asyncio

import asyncpg
import pytest

from tests.client import Api, User
from tests.conftest import fill, make_settings, running_service
from todo_service.errors import Overloaded
from todo_service.limits.fair_share import PerUserByteBudget, PerUserSemaphore


async def test_one_user_waits_for_a_turn_and_others_do_not() -> None:
    turns = PerUserSemaphore(2)
    for _ in range(2):
        await turns.acquire("ada")
    assert not turns.take("ada")
    for user in ("bob", None, None):
        assert turns.take(user)
        turns.release(user)
    waiting = [asyncio.create_task(turns.acquire("ada")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    for _ in range(2):
        turns.release("ada")
    await asyncio.gather(*waiting[1:])
    assert not turns.take("ada")


def test_room_is_each_users_and_all_togethers() -> None:
    room = PerUserByteBudget(total=100, per_user=40)
    with room.reserve("ada", 30):
        with pytest.raises(Overloaded), room.reserve("ada", 11):
            pass
        with room.reserve("ada", 10), room.reserve("bob", 40):
            with pytest.raises(Overloaded), room.reserve("eve", 21):
                pass
            with room.reserve("eve", 20):
                pass
    with room.reserve("ada", 1000), pytest.raises(Overloaded), room.reserve("bob", 1):
        pass
    with room.reserve("bob", 40):
        pass


async def test_a_user_who_asks_for_much_holds_up_nobody_else(api: Api, database_url: str) -> None:
    """Ada's counter is held, so that her writes wait with their connections; Bob is served all the same."""
    ada, bob = await api.new_user(), await api.new_user()
    db = await asyncpg.connect(database_url)
    async with db.transaction():
        await db.execute("SELECT FROM task_clocks WHERE user_id = $1 FOR UPDATE", ada.id)
        writing = [asyncio.create_task(api.post("/api/v1/tasks", {"title": "t"}, as_=ada)) for _ in range(30)]
        await asyncio.sleep(0.3)
        for _ in range(5):
            assert (await api.get("/api/v1/tasks", as_=bob)).status == 200
            assert (await api.post("/api/v1/tasks", {"title": "t"}, as_=bob)).status == 201
    answers = await asyncio.gather(*writing)
    assert {answer.status for answer in answers} <= {201, 503}
    assert {answer.headers.get("Retry-After") for answer in answers if answer.status == 503} <= {"2"}
    await db.close()


async def test_answers_that_nobody_reads_are_bounded(database_url: str) -> None:
    async with running_service(make_settings(database_url)) as api:
        ada, bob = await api.new_user(), await api.new_user()
        await fill(database_url, ada.id, count=9000, description="d" * 5000)
        unread = [await unread_list(api, ada) for _ in range(3)]
        refused = await api.get("/api/tasks", as_=ada, headers={"Accept-Encoding": "identity"})
        assert (refused.status, refused.problem()) == (503, "overloaded")
        assert (await api.get("/api/tasks?limit=10", as_=ada)).status == 200
        assert (await api.get("/api/tasks", as_=bob)).status == 200
        for writer in unread:
            writer.close()


async def unread_list(api: Api, user: User) -> asyncio.StreamWriter:
    """A connection on which all of a user's tasks were asked for, and the answer was begun but not read."""
    host, port = api.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(f"GET /api/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n\r\n".encode())
    assert await asyncio.wait_for(reader.readline(), 20)
    return writer
