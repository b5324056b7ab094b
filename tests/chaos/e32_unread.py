"""Unread answers: clients that ask and never read hold connections.

Pass: each is cut within 40 s; others are served meanwhile.
"""

import asyncio
import socket
import time

from tests.chaos.e10_slow_clients import _is_closed
from tests.chaos.report import Report
from tests.chaos.stage import stage

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    async with stage() as on:
        _, headers = await on.new_user()
        clients = []
        for _ in range(100):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", on.service.port))
            client.setblocking(False)
            clients.append(client)
        began = time.monotonic()
        sent = dict.fromkeys(clients, True)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
        statuses = set()
        while any(sent.values()) and time.monotonic() < began + 60:
            for client in [one for one, is_open in sent.items() if is_open]:
                try:
                    client.send(request)
                except BlockingIOError:
                    continue
                except OSError:
                    sent[client] = False
            statuses.add((await on.status("/api/v1/tasks", headers))[0])
            await asyncio.sleep(0.25)
        report.equals("clients that are still there", sum(not _is_closed(client) for client in clients), 0)
        report.at_most("seconds until all are cut", time.monotonic() - began, 45)
        report.equals("answers to others", statuses, {200})
        for client in clients:
            client.close()
