"""Full room: slow readers of long lists of five accounts, and slow uploads of four.

Pass: a long list and a small import of another account succeed all the same, and the process stays below 600 MB.
"""

import asyncio
import socket

from tests.chaos.e10_slow_clients import memory
from tests.chaos.report import Report
from tests.chaos.stage import stage
from tests.conftest import fill

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    async with stage(workers=1) as on:
        clients = []
        for number in range(9):
            user_id, headers = await on.new_user()
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", on.service.port))
            authorization = f"Authorization: {headers['Authorization']}\r\n".encode()
            if number < 5:
                await fill(on.postgres.url, user_id, count=900, description="x" * 4900)
                for _ in range(12):
                    client.send(b"GET /api/tasks HTTP/1.1\r\nHost: a\r\n" + authorization + b"\r\n")
                    await asyncio.sleep(0.05)
            else:
                head = b"POST /api/v1/import HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                client.send(head + b"Content-Length: 16777216\r\n" + authorization + b"\r\n[")
            clients.append(client)
        await asyncio.sleep(1)
        user_id, headers = await on.new_user()
        await fill(on.postgres.url, user_id, count=900, description="y" * 1000)
        report.equals("a long list", (await on.status("/api/tasks", headers))[0], 200)
        url = f"{on.service.base}/api/v1/import"
        async with on.session.post(url, json={"tasks": [{"title": "one"}]}, headers=headers) as answer:
            report.equals("a small import", answer.status, 200)
        report.at_most("megabytes of the process", memory(on), 600)
        for client in clients:
            client.close()
