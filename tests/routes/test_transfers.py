"""Export, and what goes out coming in again."""

import asyncio
import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientError
from icalendar import Calendar

from tests.client import Answer, Api, User
from tests.conftest import fill, make_settings, running_service
from tests.process import served
from tests.proxy import Proxy
from tests.sockets import talk
from todo_service.middleware import streaming
from todo_service.routes import transfers

EXPORT, IMPORT = "/api/v1/export", "/api/v1/import"
TYPES = {"json": "application/json", "csv": "text/csv", "ics": "text/calendar"}
in_every_format = pytest.mark.parametrize("name", TYPES)
TASKS: list[dict[str, Any]] = [
    {"title": "plain"},
    {
        "title": '=HYPERLINK("http://x";"y")',
        "description": "@SUM(A1)\r\n-1",
        "tags": ["+a", 'b"c', "d, e", "f\ng", ";"],
    },
    {"title": "'=quoted", "description": "''-x", "priority": "URGENT", "due_date": "2026-12-24"},
    {"title": "C:\\New; folder, x", "description": "two\nlines \\n 👩‍👩‍👧 " * 50},
    {"title": "due", "due_date": "2026-12-24T10:00:00.123456Z"},
    {"title": "\uff1d1+1", "description": " \t=1", "status": "IN_PROGRESS", "priority": "LOW"},
    {"title": "漢" * 255, "description": "é" * 5000, "status": "COMPLETED", "priority": "HIGH"},
    {"title": "\x01\x7f.", "description": "a\x0bb\x85c\u2028d\re", "tags": ["=", "'"]},
]


async def imported(
    api: Api, user: User, content: bytes | str | Any, name: str = "json", query: str = "", **options: Any
) -> Answer:
    """Send a file: bytes and text as they are, anything else as JSON."""
    text = content if isinstance(content, bytes | str) else json.dumps(content)
    raw = text.encode() if isinstance(text, str) else text
    return await api.post(IMPORT + query, raw=raw, as_=user, headers={"Content-Type": TYPES[name]}, **options)


async def exported(api: Api, user: User, name: str = "json") -> bytes:
    answer = await api.get(f"{EXPORT}?format={name}", as_=user)
    assert answer.status == 200
    return answer.raw


async def tasks_of(api: Api, user: User) -> list[dict[str, Any]]:
    """All tasks, oldest first, as the export has them."""
    found: list[dict[str, Any]] = json.loads(await exported(api, user))["tasks"]
    return found


def comparable(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tasks without what an import into another account changes."""
    return [{k: v for k, v in task.items() if k not in {"user_id", "version"}} for task in tasks]


@pytest_asyncio.fixture
async def full(api: Api, ada: User) -> User:
    """A user with one task of each strange kind."""
    for task in TASKS:
        assert (await api.post("/api/v1/tasks", task, as_=ada)).status == 201
    return ada


def counts(answer: Answer) -> tuple[int, int, int]:
    assert answer.status == 200, answer.raw
    body = answer.body
    assert body["imported"] == body["created"] + body["updated"] + body["unchanged"]
    return body["created"], body["updated"], body["unchanged"]


async def test_round_trips_losslessly_through_json(api: Api, full: User, bob: User) -> None:
    file = await exported(api, full)
    assert counts(await imported(api, bob, file)) == (len(TASKS), 0, 0)
    before, after = await tasks_of(api, full), await tasks_of(api, bob)
    assert comparable(after) == comparable(before)
    assert [task["version"] for task in after] == list(range(1, len(TASKS) + 1))
    assert [task["user_id"] for task in after] == [bob.id] * len(TASKS)


async def test_round_trips_losslessly_through_csv(api: Api, full: User, bob: User) -> None:
    assert counts(await imported(api, bob, await exported(api, full, "csv"), "csv")) == (len(TASKS), 0, 0)
    assert comparable(await tasks_of(api, bob)) == comparable(await tasks_of(api, full))


@in_every_format
async def test_importing_an_export_again_changes_nothing(api: Api, full: User, bob: User, name: str) -> None:
    before = await tasks_of(api, full)
    file = await exported(api, full, name)
    first = await imported(api, full, file, name)
    # A calendar holds no control characters and no carriage returns: two of these tasks come back without.
    assert counts(first) == ((0, 0, len(TASKS)) if name != "ics" else (0, 2, len(TASKS) - 2))
    if name != "ics":
        assert await tasks_of(api, full) == before
    assert counts(await imported(api, full, file, name))[2] == len(TASKS)
    assert counts(await imported(api, bob, file, name))[0] == len(TASKS)
    again = await imported(api, bob, file, name)
    assert (counts(again), again.body["version"]) == ((0, 0, len(TASKS)), len(TASKS))


async def test_csv_is_safe_against_formula_injection(api: Api, full: User) -> None:
    raw = await exported(api, full, "csv")
    assert raw.startswith(b"\xef\xbb\xbfid,title,description,status,priority,due_date,tags,")
    lines = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
    assert len(lines) == 1 + len(TASKS)
    assert {len(cells) for cells in lines} == {11}
    for cell in (cell for cells in lines for cell in cells):
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d"))
    assert b"\r\n" in raw


async def test_ics_is_vtodo_that_other_programs_open(api: Api, full: User) -> None:
    raw = await exported(api, full, "ics")
    assert raw.endswith(b"END:VCALENDAR\r\n")
    assert all(len(line) <= 75 and b"\n" not in line for line in raw.split(b"\r\n"))
    calendar = Calendar.from_ical(raw)
    assert (calendar["VERSION"], bool(calendar["PRODID"])) == ("2.0", True)
    todos, tasks = calendar.walk("VTODO"), await tasks_of(api, full)
    assert [str(todo["UID"]) for todo in todos] == [task["id"] for task in tasks]
    by_title = {str(todo["SUMMARY"]): todo for todo in todos}
    path = by_title["C:\\New; folder, x"]
    assert str(path["DESCRIPTION"]) == "two\nlines \\n 👩‍👩‍👧 " * 50
    assert by_title["'=quoted"].decoded("DUE").isoformat() == "2026-12-24"
    assert by_title["'=quoted"]["PRIORITY"] == 1
    assert by_title["due"].decoded("DUE") == datetime(2026, 12, 24, 10, tzinfo=UTC)
    done = by_title["漢" * 255]
    assert (done["STATUS"], done["PRIORITY"], "COMPLETED" in done, "DTSTAMP" in done) == ("COMPLETED", 3, True, True)
    lines = raw.replace(b"\r\n ", b"").decode().split("\r\n")
    assert r'CATEGORIES:+a,b"c,d\, e,f\ng,\;' in lines


@in_every_format
async def test_the_headers_of_an_export(api: Api, ada: User, name: str) -> None:
    for method in ("GET", "HEAD"):
        answer = await api.send(method, f"{EXPORT}?format={name}", as_=ada)
        assert answer.headers["Content-Type"] == f"{TYPES[name]}; charset=utf-8"
        day = datetime.now(UTC).date()
        assert answer.headers["Content-Disposition"] == f'attachment; filename="tasks-{day}.{name}"'
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert bool(answer.raw) == (method == "GET")
    assert (await imported(api, ada, await exported(api, ada, name), name)).body["imported"] == 0


async def test_what_an_export_refuses(api: Api, ada: User) -> None:
    for query in ("format=xml", "format=", "format=JSON"):
        answer = await api.get(f"{EXPORT}?{query}", as_=ada)
        assert (answer.status, answer.failing()) == (422, {"format": "literal_error"})
    assert (await api.get(f"{EXPORT}?format=json&format=csv", as_=ada)).failing() == {"format": "repeated"}


async def test_an_export_has_every_task_once_and_nobody_elses(
    api: Api, ada: User, bob: User, database_url: str
) -> None:
    await fill(database_url, ada.id, count=2 * transfers.PAGE + 1)  # all of one moment: the id decides
    await api.post("/api/v1/tasks", {"title": "bob's"}, as_=bob)
    tasks = await tasks_of(api, ada)
    assert len({task["id"] for task in tasks}) == len(tasks) == 2 * transfers.PAGE + 1
    assert {task["user_id"] for task in tasks} == {ada.id}
    for name in TYPES:
        assert (await exported(api, ada, name)).count(b"a title of some length") == len(tasks)


async def test_a_database_that_fails_midway_leaves_no_short_but_valid_file(
    api: Api, ada: User, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    await fill(database_url, ada.id, count=4000, description="d" * 5000)
    async with Proxy(database_url) as proxy, running_service(make_settings(proxy.url())) as service:
        headers = {"Authorization": f"Bearer {ada.token}"}
        async with service.session.get(service.base + EXPORT, headers=headers) as response:
            assert response.status == 200
            await response.content.readany()
            await proxy.__aexit__()
            with pytest.raises(ClientError):
                await response.read()
        answer = await service.get(EXPORT, as_=ada)
        assert (answer.status, answer.problem()) == (503, "database-unavailable")
    assert capfd.readouterr().out.count("answer_broken_off") == 1


async def test_no_connection_is_held_while_a_client_reads(api: Api, ada: User, database_url: str) -> None:
    await fill(database_url, ada.id, count=5000, description="d" * 5000)
    async with (
        running_service(make_settings(database_url, database_pool_max=1)) as service,
        talk(service, "GET", EXPORT, as_=ada) as connection,
    ):
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.5)
        assert (await service.get("/api/v1/tasks?limit=1", as_=ada)).status == 200


async def test_a_client_that_does_not_read_its_export_is_not_waited_for(
    api: Api, ada: User, database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(streaming, "CHUNK_SECONDS", 0.3)
    await fill(database_url, ada.id, count=8000, description="d" * 5000)
    async with talk(api, "GET", EXPORT, as_=ada) as connection:
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(2)
    assert "reader_too_slow" in capfd.readouterr().out


async def test_an_export_takes_constant_memory(api: Api, ada: User, database_url: str) -> None:
    """Of a process of its own: 10,000 tasks of 5,000 characters are 50 MB; of calendars, which take longer, a fifth."""
    await fill(database_url, ada.id, description="d" * 5000)
    eve = await api.new_user()
    await fill(database_url, eve.id, count=2000, description="d" * 5000)
    async with served(DATABASE_URL=database_url) as (process, service):
        bob = await service.new_user()
        await fill(database_url, bob.id, count=600, description="d" * 5000)
        for name in TYPES:
            await size_of_export(service, bob, name)
        before = peak_memory(process.pid)
        for name, user, size in (("json", ada, 50_000_000), ("csv", ada, 50_000_000), ("ics", eve, 10_000_000)):
            assert await size_of_export(service, user, name) > size
        assert peak_memory(process.pid) - before < 12 * 2**20


async def size_of_export(service: Api, user: User, name: str) -> int:
    """The bytes of an export, read without keeping them."""
    headers = {"Authorization": f"Bearer {user.token}"}
    async with service.session.get(f"{service.base}{EXPORT}?format={name}", headers=headers) as response:
        return sum([len(piece) async for piece in response.content.iter_any()])


def peak_memory(pid: int) -> int:
    """The most a process ever held, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024
