"""Health flood: hundreds of health checks and scrapes without an account, many given up at once.

Pass: every request of others is answered, as before.
"""

import asyncio
import socket
import time

from tests.chaos.e10_slow_clients import percentile
from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = True
PATHS = (b"/health", b"/health/ready", b"/metrics")


async def run(report: Report, *, short: bool) -> None:
    async with stage() as on:
        _, headers = await on.new_user()
        await percentile(on, headers, times=50)
        stop = asyncio.Event()

        async def flood(path: bytes) -> None:
            while not stop.is_set():
                client = socket.create_connection(("127.0.0.1", on.service.port))
                client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
                await asyncio.sleep(0.02)
                client.close()

        floods = [asyncio.create_task(flood(PATHS[number % 3])) for number in range(30 if short else 150)]
        statuses, began = [], time.monotonic()
        while time.monotonic() < began + (2 if short else 10):
            statuses.append((await on.status("/api/v1/tasks", headers))[0])
        stop.set()
        await asyncio.gather(*floods)
        after = time.monotonic()
        status, _ = await on.status("/api/v1/tasks", headers)
        report.equals("answers to others", set(statuses) | {status}, {200})
        report.at_least("answers a second meanwhile", len(statuses) / (2 if short else 10), 5)
        report.at_most("seconds to an answer afterwards", time.monotonic() - after, 1)
