"""Idle crowd: 10,000 idle keep-alive connections.

Pass: all are accepted, each takes at most 15 KB, and others are answered within 10 ms (99th percentile).
"""

import asyncio
import contextlib
import resource

from tests.chaos.e10_slow_clients import memory, percentile
from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = False
CROWD = 8_000  # the limit of open files of most containers is below 20,000, and both ends are here


async def run(report: Report, *, short: bool) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    async with stage() as on, contextlib.AsyncExitStack() as held:
        _, headers = await on.new_user()
        await percentile(on, headers)
        megabytes, accepted = memory(on), 0
        for number in range(CROWD):
            source = (f"127.0.{1 + number // 250}.{1 + number % 250}", 0)
            reader, writer = await asyncio.open_connection("127.0.0.1", on.service.port, local_addr=source)
            held.callback(writer.close)
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            accepted += (await reader.readline()).startswith(b"HTTP/1.1 200")
        report.equals("accepted and answered", accepted, CROWD)
        report.at_most("kilobytes each", (memory(on) - megabytes) * 1024 / CROWD, 15)
        report.at_most("99th percentile of others in seconds", await percentile(on, headers), 0.01)
