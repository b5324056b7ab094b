"""Slow clients: 1,000 send their headers in drops, 200 their bodies.

Pass: others are answered at most twice as slowly; slow ones are cut at their time limit; memory grows by 20 MB at most.
"""

import asyncio
import socket
import time
from pathlib import Path

from tests.chaos.report import Report
from tests.chaos.stage import Stage, stage

SHORT = False
LIMIT = 30


async def percentile(on: Stage, headers: dict[str, str], *, times: int = 200) -> float:
    """The 99th percentile of one list after the other, in seconds."""
    seconds = sorted([(await on.status("/api/v1/tasks", headers))[1] for _ in range(times)])
    return seconds[int(times * 0.99)]


def memory(on: Stage) -> float:
    """The resident megabytes of all processes of the service."""
    pids = {on.service.pid, *on.service.workers()}
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in pids) / 2**20


async def run(report: Report, *, short: bool) -> None:
    async with stage() as on:
        _, headers = await on.new_user()
        await percentile(on, headers)
        before, megabytes = await percentile(on, headers), memory(on)
        clients = []
        for number in range(1200):
            client = socket.create_connection(("127.0.0.1", on.service.port))
            head = b"GET / HTTP/1.1\r\nX: " if number < 1000 else (
                b"POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
                + f"Authorization: {headers['Authorization']}\r\n\r\n{{".encode()
            )  # fmt: skip
            client.send(head)
            client.setblocking(False)
            clients.append(client)
        beside = await percentile(on, headers)
        began, cut_after = time.monotonic(), float("inf")
        grown = memory(on) - megabytes
        while time.monotonic() < began + LIMIT + 10:
            if all(_is_closed(client) for client in clients):
                cut_after = time.monotonic() - began
                break
            await asyncio.sleep(0.5)
        for client in clients:
            client.close()
        report.at_most("99th percentile beside them, of that before", beside / max(before, 0.002), 2)
        report.at_most("seconds until all are cut", cut_after, LIMIT + 3)
        report.at_most("megabytes more", grown, 20)


def _is_closed(client: socket.socket) -> bool:
    try:
        while data := client.recv(65536):
            if not data:
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
