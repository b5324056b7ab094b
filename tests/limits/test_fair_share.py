"""Each user's share: turns at what there are few of, and room for what is big."""

import asyncio
import socket
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.client import Api, User
from tests.conftest import fill, make_settings, running_service
from todo_service.errors import Overloaded
from todo_service.limits import fair_share
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


def test_where_it_is_full_the_user_who_holds_most_makes_room() -> None:
    room = PerUserByteBudget(total=100, per_user=40)
    evicted: list[str] = []
    with ExitStack() as slow:
        for user in ("eve", "mallory", "trent"):
            for part in (1, 2):
                slow.enter_context(room.reserve(user, 16, evict=partial(evicted.append, f"{user} {part}")))
        with room.reserve("ada", 16):
            assert evicted == ["eve 1"], "the oldest of those who hold most"
            with room.reserve("bob", 16):
                assert evicted == ["eve 1", "mallory 1"]
            with pytest.raises(Overloaded), room.reserve("ada", 22):
                pass
    with room.reserve("ada", 90) as settled:
        with pytest.raises(Overloaded), room.reserve("bob", 16):
            pass
        settled.evict = partial(evicted.append, "ada")
        with room.reserve("bob", 16):
            assert evicted[-1] == "ada"


def test_one_with_as_much_for_long_makes_room_too(monkeypatch: pytest.MonkeyPatch) -> None:
    room, evicted = PerUserByteBudget(total=40, per_user=20), list[str]()
    with ExitStack() as slow:
        for user in ("eve", "mallory"):
            slow.enter_context(room.reserve(user, 20, evict=partial(evicted.append, user)))
        with pytest.raises(Overloaded), room.reserve("ada", 20):
            pass
        monkeypatch.setattr(fair_share, "GRACE_SECONDS", -1.0)
        with room.reserve("ada", 20):
            assert evicted == ["eve"]


def test_nobody_is_evicted_in_vain() -> None:
    room, evicted = PerUserByteBudget(total=100, per_user=200), list[str]()
    with (
        room.reserve("eve", 40, evict=partial(evicted.append, "eve")),
        room.reserve("bob", 60),
        pytest.raises(Overloaded),
        room.reserve("ada", 45),
    ):
        pass
    assert evicted == []


async def test_slow_readers_keep_nobody_from_a_long_list(own_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todo_service.app.MAX_UNSENT", 3_000_000)
    monkeypatch.setattr("todo_service.app.MAX_UNSENT_PER_USER", 3_000_000)
    async with running_service(make_settings(own_url)) as api, AsyncExitStack() as held:
        for _ in range(5):
            slow = await api.new_user()
            await fill(own_url, slow.id, count=1000, description="x" * 2000)
            url = urlsplit(api.base)
            client = held.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((url.hostname, url.port))
            client.send(f"GET /api/tasks HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {slow.token}\r\n\r\n".encode())
            await asyncio.sleep(0.3)
        ada = await api.new_user()
        await fill(own_url, ada.id, count=400, description="x" * 1000)
        answer = await api.get("/api/tasks", as_=ada)
        assert (answer.status, len(answer.body)) == (200, 400)


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


async def test_answers_that_nobody_reads_are_bounded(own_url: str) -> None:
    async with running_service(make_settings(own_url)) as api:
        ada, bob = await api.new_user(), await api.new_user()
        await fill(own_url, ada.id, count=1600, description="d" * 5000)
        unread = [await unread_list(api, ada) for _ in range(8)]
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
