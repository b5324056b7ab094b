"""Live updates by server-sent events: what arrives when, where a stream goes on, and when it ends."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.client import PASSWORD, Api, User
from tests.conftest import make_settings, run_sql, running_service, template_name, temporary_database
from tests.proxy import Proxy
from tests.replica import sync
from tests.routes.test_personal_tokens import id_of, make
from tests.routes.test_tasks import created
from tests.streams import EVENTS, stream
from todo_service.routes import events
from todo_service.routes.change_watch import MAX_OF_USER

TICKET = f"{EVENTS}/ticket"


def changed(event: Any) -> list[str]:
    return [change["id"] for change in event.body["changes"]]


async def test_a_stream_begins_with_all_tasks_and_goes_on_with_changes(api: Api, ada: User) -> None:
    first = await created(api, ada)
    async with stream(api, token=ada.token) as opened:
        assert opened.response.headers["Cache-Control"] == "private, no-cache"
        assert opened.response.headers["X-Accel-Buffering"] == "no"
        event = await opened.next()
        assert event is not None
        assert event.body == (await sync(api, ada)).body
        assert event.id == event.body["cursor"]
        assert opened.retries == [2000]
        began = time.monotonic()
        second = await created(api, ada)
        await api.delete(f"/api/v1/tasks/{first['id']}", as_=ada)
        seen: list[str] = []
        while len(seen) < 2:
            event = await opened.next()
            assert event is not None
            seen += changed(event)
        assert seen == [second["id"], first["id"]]
        assert event.body["changes"][-1] == {"id": first["id"], "deleted": True}
        assert time.monotonic() - began < 5


async def test_a_change_of_another_worker_arrives(api: Api, ada: User, database_url: str) -> None:
    async with running_service(make_settings(database_url)) as other, stream(api, token=ada.token) as opened:
        await asyncio.sleep(0.2)
        task = await created(other, ada)
        event = await opened.next()
        assert event is not None
        assert changed(event) == [task["id"]]


async def test_a_stream_goes_on_where_the_last_one_broke_off(api: Api, ada: User) -> None:
    tasks = [await created(api, ada, title=str(number)) for number in range(3)]
    async with stream(api, token=ada.token) as opened:
        event = await opened.next()
        assert event is not None
    last_id = event.id
    missed = [await created(api, ada, title="missed"), await created(api, ada, title="too")]
    for header, query in ((last_id, ""), ("", f"?cursor={last_id}")):
        async with stream(api, token=ada.token, last_id=header, query=query) as again:
            event = await again.next()
            assert event is not None
            assert changed(event) == [task["id"] for task in missed]
    async with stream(api, token=ada.token, last_id=last_id, query=f"?cursor={event.id}") as both:
        event = await both.next()
        assert event is not None
        assert changed(event) == [task["id"] for task in missed], "the header is the newer one"
    assert len(tasks) == 3


async def test_large_pages_come_in_pieces(api: Api, ada: User) -> None:
    for start in range(0, 250, 50):
        operations = [{"op": "create", "task": {"title": f"t {start + n}"}} for n in range(50)]
        assert (await api.post("/api/v1/tasks/batch", {"operations": operations}, as_=ada)).status == 200
    async with stream(api, token=ada.token) as opened:
        sizes: list[int] = []
        seen: set[str] = set()
        while len(seen) < 250:
            event = await opened.next()
            assert event is not None
            sizes.append(len(changed(event)))
            seen |= set(changed(event))
    assert (max(sizes), sum(sizes)) == (100, 250)


@pytest.mark.parametrize("last_id", ["x", "A" * 40, "-1"])
async def test_a_last_event_of_nonsense_is_400(api: Api, ada: User, last_id: str) -> None:
    answer = await api.get(EVENTS, as_=ada, headers={"Last-Event-ID": last_id})
    assert (answer.status, answer.problem()) == (400, "bad-request")


async def test_wrong_cursors_are_refused_before_the_stream(api: Api, ada: User, bob: User, database_url: str) -> None:
    await created(api, bob)
    of_bob = (await sync(api, bob)).body["cursor"]
    assert (await api.get(f"{EVENTS}?cursor={of_bob}", as_=ada)).failing() == {"cursor": "cursor"}
    assert (await api.get(EVENTS, as_=ada, headers={"Last-Event-ID": of_bob})).problem() == "bad-request"
    assert (await api.get(f"{EVENTS}?cursor=x", as_=ada)).status == 422
    await run_sql(database_url, f"UPDATE task_clocks SET epoch = epoch + 1 WHERE user_id = '{bob.id}'")
    answer = await api.get(f"{EVENTS}?cursor={of_bob}", as_=bob)
    assert (answer.status, answer.problem()) == (410, "cursor-expired")


async def test_a_cursor_that_expires_within_is_an_error_event(api: Api, ada: User, database_url: str) -> None:
    await created(api, ada)
    async with stream(api, token=ada.token) as opened:
        assert await opened.next()
        await run_sql(database_url, f"UPDATE task_clocks SET epoch = epoch + 1 WHERE user_id = '{ada.id}'")
        event = await opened.next()
        assert event is not None
        assert (event.kind, event.body["type"], event.body["status"]) == ("error", "/problems/cursor-expired", 410)
        assert await opened.next() is None


@pytest.mark.parametrize("way", ["sign-out", "password", "ended token", "ticket"])
async def test_a_stream_ends_with_its_credential(api: Api, ada: User, way: str) -> None:
    token, query = ada.token, ""
    if way == "ended token":
        token = await make(api, ada, "tasks:read")
    if way == "ticket":
        token, query = "", f"?ticket={(await api.post(TICKET, as_=ada)).body['ticket']}"
    async with stream(api, token=token, query=query) as opened:
        await asyncio.sleep(0.2)
        began = time.monotonic()
        match way:
            case "sign-out" | "ticket":
                await api.post("/api/v1/auth/logout", {"refresh_token": ada.refresh_token})
            case "password":
                change = {"current_password": PASSWORD, "new_password": "another horse 10"}
                await api.post("/api/v1/auth/password", change, as_=ada)
            case "ended token":
                await api.delete(f"/api/v1/auth/tokens/{await id_of(api, ada, token)}", as_=ada)
        event = await opened.next(15)
        assert event is not None
        assert (event.kind, event.body["type"]) == ("error", "/problems/unauthenticated")
        assert await opened.next() is None
        assert time.monotonic() - began < 8


async def test_a_ticket_stands_for_its_token_on_this_path_alone(
    api: Api, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await created(api, ada)
    answer = await api.post(TICKET, as_=ada)
    assert (answer.status, answer.body["expires_in"], answer.headers["Cache-Control"]) == (200, 60, "no-store")
    ticket = answer.body["ticket"]
    assert ada.token not in ticket
    async with stream(api, query=f"?ticket={ticket}") as opened:
        event = await opened.next()
        assert event is not None
        assert changed(event) == [task["id"]]
    for path in ("/api/v1/tasks", "/api/v1/sync", "/api/v1/auth/me"):
        assert (await api.get(f"{path}?ticket={ticket}")).status == 401
    for wrong in ("x", ticket[:-4] + "AAAA", ada.token, ""):
        assert (await api.get(f"{EVENTS}?ticket={wrong}")).problem() == "unauthenticated"
    monkeypatch.setattr("todo_service.auth.tickets.SECONDS", -1)
    expired = await api.get(f"{EVENTS}?ticket={ticket}")
    assert (expired.status, "expired" in expired.body["detail"]) == (401, True)


async def test_a_ticket_has_the_scopes_of_its_token(api: Api, ada: User) -> None:
    writer = await make(api, ada, "tasks:write")
    assert (await api.post(TICKET, token=writer)).problem() == "insufficient-scope"
    assert (await api.get(EVENTS, token=writer)).problem() == "insufficient-scope"
    reader = await make(api, ada, "tasks:read")
    ticket = (await api.post(TICKET, token=reader)).body["ticket"]
    async with stream(api, query=f"?ticket={ticket}") as opened:
        await created(api, ada)
        assert await opened.next()


async def test_the_eleventh_stream_of_a_user_is_429(api: Api, ada: User) -> None:
    async with AsyncExitStack() as streams:
        for _ in range(10):
            await streams.enter_async_context(stream(api, token=ada.token))
        assert (await api.get(EVENTS, as_=ada)).problem() == "too-many-streams"
        assert (await api.get("/api/v1/sync?wait=1", as_=ada)).problem() == "too-many-streams"
    async with asyncio.timeout(10):
        while (await api.get("/api/v1/sync?wait=1", as_=ada)).status != 200:
            await asyncio.sleep(0.2)


async def test_open_streams_are_no_busy_requests(database_url: str) -> None:
    settings = make_settings(database_url, max_requests_in_flight=4, max_streams=12)
    async with running_service(settings) as api, AsyncExitStack() as streams:
        users = [await api.new_user() for _ in range(13)]
        opened = [await streams.enter_async_context(stream(api, token=user.token)) for user in users[:12]]
        assert (await api.get(EVENTS, as_=users[12])).problem() == "overloaded"
        assert (await api.get("/api/v1/tasks", as_=users[12])).status == 200
        metrics = (await api.get("/metrics")).raw.decode()
        assert "todo_event_streams_open 12.0" in metrics
        await created(api, users[0])
        assert await opened[0].next()


async def test_the_end_of_the_process_ends_the_streams_with_a_spread_retry(database_url: str) -> None:
    async with ClientSession() as session, AsyncExitStack() as streams:
        async with running_service(make_settings(database_url)) as api:
            ada = await api.new_user()
            opened = await streams.enter_async_context(stream(Api(session, api.base), token=ada.token))
            waiting = asyncio.create_task(opened.next(20))
            await asyncio.sleep(0.3)
            began = time.monotonic()
        assert await waiting is None
        assert time.monotonic() - began < 8
    assert len(opened.retries) == 2
    assert 0 <= opened.retries[1] < 5000


async def test_a_database_that_is_away_leaves_the_stream_open_and_nothing_is_missed(postgres_url: str) -> None:
    async with (
        temporary_database(postgres_url, template=template_name()) as url,
        Proxy(url) as proxy,
        running_service(make_settings(proxy.url())) as api,
        running_service(make_settings(url)) as other,
    ):
        ada = await api.new_user()
        async with stream(api, token=ada.token) as opened:
            await asyncio.sleep(0.2)
            proxy.thawed.clear()
            proxy.cut()
            task = await created(other, ada)
            await asyncio.sleep(4)
            proxy.thawed.set()
            event = await opened.next(20)
            assert event is not None
            assert (event.kind, changed(event)) == ("message", [task["id"]])


async def test_a_stream_without_changes_has_comments(api: Api, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_SECONDS", 0.2)
    async with stream(api, token=ada.token) as opened:
        with pytest.raises(TimeoutError):
            await opened.next(1)
        assert opened.comments >= 3


async def test_a_reader_that_does_not_read_is_cut(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SEND_SECONDS", 1.0)
    async with running_service(make_settings(database_url)) as api:
        ada = await api.new_user()
        await run_sql(
            database_url,
            f"""INSERT INTO tasks
            (user_id, id, title, description, status, priority, tags, created_at, updated_at, version)
            SELECT '{ada.id}', gen_random_uuid(), 't', repeat('\u00e9', 5000), 'TODO', 'LOW', '{{}}', now(), now(), n
            FROM generate_series(1, 3000) AS n;
            UPDATE task_clocks SET task_count = 3000, version = 3000 WHERE user_id = '{ada.id}'""",
        )
        port = int(api.base.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.token}\r\n\r\n".encode())
        await asyncio.sleep(0.5)
        assert "todo_event_streams_open 1.0" in (await api.get("/metrics")).raw.decode()
        async with asyncio.timeout(20):
            while "todo_event_streams_open 1.0" in (await api.get("/metrics")).raw.decode():
                await asyncio.sleep(0.3)
        writer.close()
        assert reader


async def test_a_change_is_counted_with_its_lag(database_url: str) -> None:
    async with running_service(make_settings(database_url)) as api:
        ada = await api.new_user()
        async with stream(api, token=ada.token) as opened:
            await asyncio.sleep(0.2)
            await created(api, ada)
            assert await opened.next()
        metrics = (await api.get("/metrics")).raw.decode()
        assert "todo_events_sent_total 1.0" in metrics
        assert "todo_event_lag_seconds_count 1.0" in metrics


async def test_the_place_of_a_stream_is_free_as_soon_as_its_client_is_gone(
    api: Api, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "CHECK_SECONDS", 60.0)
    for _ in range(3):
        async with AsyncExitStack() as open_ones:
            for _ in range(MAX_OF_USER):
                await open_ones.enter_async_context(stream(api, token=ada.token))
            async with stream(api, token=ada.token, status=429):
                pass
        began = time.monotonic()
        refused = True
        while refused:
            async with api.session.get(
                f"{api.base}{EVENTS}", headers={"Authorization": f"Bearer {ada.token}"}
            ) as answer:
                refused = answer.status == 429
        assert time.monotonic() - began < 30
