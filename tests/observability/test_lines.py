"""Lines on their way to a pipe: whole, in order, and never in the way of the event loop."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.process import served
from todo_service.observability import lines
from todo_service.observability.lines import LineWriter

LINE = b"x" * 999


class Pipe:
    """A pipe, and a writer to it that notes what it reports."""

    def __init__(self) -> None:
        self.reader, self.end = os.pipe()
        self.dropped: list[int] = []
        self.writer = LineWriter(self.end, self.dropped.append)

    def read(self) -> bytes:
        """Everything that is in the pipe."""
        os.set_blocking(self.reader, False)
        parts = []
        while True:
            try:
                parts.append(os.read(self.reader, 1 << 20))
            except BlockingIOError:
                return b"".join(parts)

    async def drain(self) -> bytes:
        """Everything that comes until nothing more comes."""
        parts = [b"..."]
        while parts[-1]:
            await asyncio.sleep(2 * lines.RETRY_SECONDS)
            parts.append(self.read())
        return b"".join(parts[1:])


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe of 64 KiB."""
    made = Pipe()
    yield made
    made.writer.close()
    for descriptor in (made.reader, made.end):
        with suppress(OSError):
            os.close(descriptor)


async def test_without_an_event_loop_each_line_is_written_at_once(pipe: Pipe) -> None:
    pipe.writer.write(b"one")
    assert pipe.read() == b"one\n"


async def test_lines_are_written_in_order_at_the_end_of_the_turn(pipe: Pipe) -> None:
    pipe.writer.attach(asyncio.get_running_loop())
    for number in range(2000):
        pipe.writer.write(b"%d" % number)
    assert pipe.read() == b""
    assert (await pipe.drain()).split() == [b"%d" % number for number in range(2000)]


async def test_a_reader_that_stops_blocks_nothing_and_costs_bounded_memory(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_WAITING", 200_000)
    pipe.writer.attach(asyncio.get_running_loop())
    started = time.monotonic()
    for _ in range(1000):
        pipe.writer.write(LINE)
        await asyncio.sleep(0)
    assert time.monotonic() - started < 1
    found = (await pipe.drain()).splitlines()
    assert set(found) == {LINE}
    assert 200 <= len(found) <= 270
    assert pipe.dropped == [1000 - len(found)]


async def test_a_long_line_arrives_whole(pipe: Pipe) -> None:
    pipe.writer.attach(asyncio.get_running_loop())
    long = os.urandom(100_000).hex().encode()
    for line in (b"before", long, b"after"):
        pipe.writer.write(line)
    assert (await pipe.drain()).splitlines() == [b"before", long, b"after"]


async def test_a_reader_that_is_gone_is_no_error(pipe: Pipe) -> None:
    pipe.writer.attach(asyncio.get_running_loop())
    os.close(pipe.reader)
    for _ in range(3):
        pipe.writer.write(LINE)
        await asyncio.sleep(0.01)
    pipe.writer.detach()
    pipe.writer.write(LINE)
    assert pipe.dropped == []


async def test_a_thread_writes_too(pipe: Pipe) -> None:
    pipe.writer.attach(asyncio.get_running_loop())
    thread = threading.Thread(target=pipe.writer.write, args=(b"from a thread",))
    thread.start()
    thread.join()
    assert await pipe.drain() == b"from a thread\n"


async def test_the_end_waits_a_second_for_the_reader_at_most(pipe: Pipe) -> None:
    pipe.writer.attach(asyncio.get_running_loop())
    for _ in range(200):
        pipe.writer.write(LINE)
    started = time.monotonic()
    pipe.writer.detach()
    assert 0.9 < time.monotonic() - started < 2
    assert (await pipe.drain()).count(b"\n") >= 64


async def test_a_file_takes_everything_at_once(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = LineWriter(file.fileno(), lambda _: None)
        writer.attach(asyncio.get_running_loop())
        for _ in range(200):
            writer.write(LINE)
        await asyncio.sleep(0)
        assert (tmp_path / "log").read_bytes() == (LINE + b"\n") * 200


async def test_requests_go_on_while_nothing_reads_the_log(database_url: str) -> None:
    reader, output = os.pipe()
    async with served(DATABASE_URL=database_url, output=output) as (process, api):
        os.close(output)
        for _ in range(40):
            answers = await asyncio.gather(*(api.get("/health/live") for _ in range(20)))
            assert {answer.status for answer in answers} == {200}
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    os.close(reader)


async def test_two_writers_on_one_pipe_never_block(pipe: Pipe) -> None:
    """What one takes of the last room must not hold up the other."""
    other = LineWriter(pipe.end, pipe.dropped.append)
    for writer in (pipe.writer, other):
        writer.attach(asyncio.get_running_loop())
    started = time.monotonic()
    for number in range(400):
        pipe.writer.write(b"a%d" % number + LINE)
        other.write(b"b%d" % number + LINE)
        await asyncio.sleep(0)
    assert time.monotonic() - started < 1
    found = (await pipe.drain()).splitlines()
    other.close()
    assert sorted(found) == sorted(name + b"%d" % number + LINE for name in (b"a", b"b") for number in range(400))


async def test_lines_after_the_end_of_the_loop_are_written_at_once(pipe: Pipe) -> None:
    loop = asyncio.new_event_loop()
    pipe.writer.attach(loop)
    pipe.writer.write(b"before")
    loop.close()
    pipe.writer.write(b"after")
    assert pipe.read() == b"before\nafter\n"


async def test_a_socket_takes_lines_as_a_pipe_does() -> None:
    reader, end = socket.socketpair()
    dropped: list[int] = []
    writer = LineWriter(end.fileno(), dropped.append)
    writer.attach(asyncio.get_running_loop())
    started = time.monotonic()
    for _ in range(2000):
        writer.write(LINE)
        await asyncio.sleep(0)
    assert time.monotonic() - started < 1
    reader.setblocking(False)
    received = b""
    while received.count(b"\n") < 2000:
        with suppress(BlockingIOError):
            received += reader.recv(1 << 20)
        await asyncio.sleep(0.001)
    assert (set(received.splitlines()), dropped) == ({LINE}, [])
    writer.close()
    reader.close()
    end.close()
