"""Open connections: clients that do not read are cut off, one address leaves room for others, no framing is endless."""

import asyncio
import gc
import resource
import socket
import sys
import time
from contextlib import AsyncExitStack, ExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import structlog
from structlog.testing import LogCapture

from tests.client import Api, User
from tests.conftest import fill, make_settings, running_service
from tests.process import served
from tests.sockets import connect, talk
from todo_service.server import connections
from todo_service.server.connections import Connections, raise_file_limit


class Transport:
    """The part of a transport that is asked: its peer, its unsent bytes, and whether it was cut."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.unsent = 0
        self.was_cut = False

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return self.address, 50_000

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.was_cut = True


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    capture = LogCapture()
    monkeypatch.setattr(connections, "log", structlog.wrap_logger(structlog.PrintLogger(), processors=[capture]))
    return capture.entries


def opened(kept: Connections, address: str) -> tuple[asyncio.Protocol, Transport]:
    protocol, transport = asyncio.Protocol(), Transport(address)
    kept.add(protocol, cast(asyncio.Transport, transport))
    return protocol, transport


async def test_one_address_has_a_quarter_and_a_proxy_all(logged: list[Any]) -> None:
    kept = Connections(trusted=[ip_network("10.0.0.0/8")], most=8)
    own = [opened(kept, "192.0.2.1") for _ in range(3)]
    assert [transport.was_cut for _, transport in own] == [False, False, True]
    assert not opened(kept, "192.0.2.2")[1].was_cut
    assert [opened(kept, f"2001:db8::{host:x}")[1].was_cut for host in range(3)] == [False, False, True], "one network"
    assert [opened(kept, "10.0.0.1")[1].was_cut for _ in range(4)] == [False, False, False, True], "it is full"
    [line] = logged
    assert (line["event"], line["most"], line["log_level"]) == ("connections_refused", 8, "warning")
    kept.remove(own[0][0])
    kept.remove(own[2][0])
    assert not opened(kept, "192.0.2.1")[1].was_cut, "there is room again"


async def test_a_client_that_reads_nothing_for_30_seconds_is_cut_off(logged: list[Any]) -> None:
    kept = Connections(most=100)
    (_, stalled), (_, slow), (reading, busy), (_, idle) = [opened(kept, "192.0.2.1") for _ in range(4)]
    for second in range(100):
        stalled.unsent, slow.unsent, busy.unsent, idle.unsent = 1, 2_000_000 - second * 1000, 300_000, 0
        if second % 20 == 0:
            kept.note_progress(reading)
        kept.sweep(float(second))
        assert stalled.was_cut is (second >= 30)
    assert not slow.was_cut
    assert not busy.was_cut
    assert not idle.was_cut
    assert logged[0]["event"] == "readers_too_slow"


async def test_small_answers_that_nobody_reads_hold_a_connection_only_so_long(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.3)
    monkeypatch.setattr(connections, "SWEEP_SECONDS", 0.1)
    async with running_service(make_settings(database_url)) as api:
        ada = await api.new_user()
        await fill(database_url, ada.id, count=200, description="x" * 500)
        url = urlsplit(api.base)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((url.hostname, url.port))
        request = f"GET /api/v1/tasks HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ada.token}\r\n\r\n".encode()
        client.setblocking(False)
        assert await was_cut(client, request), "answers of 130 kB, and none is read"
        client.close()


async def was_cut(client: socket.socket, request: bytes) -> bool:
    """Send requests on and on, and read no answer; return whether that was ended."""
    began = time.monotonic()
    while time.monotonic() - began < 10:
        await asyncio.sleep(0.05)
        try:
            client.send(request)
        except BlockingIOError:
            continue
        except ConnectionError:
            return True
    return False


def test_the_limit_of_open_files_is_as_high_as_it_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard) // 2, hard))
    assert raise_file_limit() == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


async def test_beyond_the_limit_there_is_a_line_in_the_log_and_room_for_the_service_itself(
    database_url: str, tmp_path: Path
) -> None:
    program = ["prlimit", "--nofile=300:300", sys.executable, "-m", "todo_service"]
    with (tmp_path / "log").open("w+b") as output, ExitStack() as held:
        async with served(*program, output=output, DATABASE_URL=database_url) as (_, api):
            url = urlsplit(api.base)
            for host in range(250):
                source = (f"127.0.{host % 7}.{host + 1}", 0)
                held.enter_context(socket.create_connection((url.hostname, url.port), source_address=source))
            await asyncio.sleep(0.5)
            held.close()
            await asyncio.sleep(0.5)
            assert (await api.get("/health")).status == 200
        assert b'"connections_refused"' in (tmp_path / "log").read_bytes()


@pytest.mark.parametrize("with_content", [False, True])
async def test_a_chunk_that_is_all_extension_ends_early(api: Api, ada: User, with_content: bool) -> None:
    headers = {"Transfer-Encoding": "chunked"}
    async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers=headers) as begun:
        began, sent = time.monotonic(), 0
        await begun.send(b"1\r\n{\r\n" if with_content else b"1;")
        while sent < 64 * 2**20 and not begun.writer.transport.is_closing():
            await begun.send((b"1;a=" if with_content and not sent else b"") + b"x" * 65_536)
            sent += 65_536
            await asyncio.sleep(0)
        assert sent < 16 * 2**20
        assert time.monotonic() - began < 5


async def test_chunks_of_one_byte_are_read(api: Api, ada: User) -> None:
    body = b'{"title": "' + b"x" * 200 + b'", "description": "' + b"y" * 4000 + b'"}'
    async with talk(api, "POST", "/api/v1/tasks", as_=ada, headers={"Transfer-Encoding": "chunked"}) as begun:
        await begun.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
        assert (await begun.answer())[0] == 201
    async with connect(api) as connection:
        await connection.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await connection.answer())[0] == 200


def large_bytes(mark: bytes) -> int:
    """The number of objects of more than a mebibyte with this mark near their beginning, each counted once."""
    gc.collect()
    objects = {id(one): one for one in gc.get_referents(*gc.get_objects()) if type(one) is bytes and len(one) > 2**20}
    return sum(mark in one[:4096] for one in objects.values())


async def test_connections_without_a_request_hold_neither_the_last_body_nor_the_last_answer(
    api: Api, ada: User, database_url: str
) -> None:
    mark = uuid4().hex
    await fill(database_url, ada.id, count=300, description=mark + "x" * 4900)
    caller = f"Host: a\r\nAuthorization: Bearer {ada.token}\r\n"
    upload = f"POST /api/v1/import HTTP/1.1\r\n{caller}Content-Type: text/csv\r\nContent-Length: {2**21}\r\n\r\n"
    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(connect(api)) for _ in range(8)]
        for connection in idle:
            await connection.send(upload.encode() + mark.encode().ljust(2**21, b"\xff"))
            assert (await connection.answer())[0] in {400, 422}
        assert large_bytes(mark.encode()) <= 2
        for connection in idle:
            await connection.send(f"GET /api/v1/sync?limit=300 HTTP/1.1\r\n{caller}\r\n".encode())
            status, page = await connection.answer()
            assert (status, len(str(page)) > 2**20) == (200, True)
            del page
        assert large_bytes(mark.encode()) <= 2
