"""Network: between service and database packets hang, connections are cut, and 300 ms are added.

Pass: as with a frozen database; back within 2 s; the server has at most the pool's connections and 2 more.
"""

import asyncio
import time

from tests.chaos.load import Writers, judge
from tests.chaos.report import Report
from tests.chaos.stage import stage
from tests.proxy import Proxy

SHORT = False
POOL = 10


class SlowProxy(Proxy):
    """Adds a delay to each message of the server, while `delay` is set."""

    delay = 0.0

    async def answer(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.thawed.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            client.write(data)
        client.transport.abort()


async def run(report: Report, *, short: bool) -> None:
    proxies: list[SlowProxy] = []

    def through(url: str) -> str:
        proxies.append(SlowProxy(url))
        return proxies[0].url()

    async with stage(workers=1, through=through, start=False) as on, proxies[0]:
        proxy = proxies[0]
        on.service.start()
        await on.service.until_ready()
        slowest = 0.0
        async with Writers(on, clients=30) as history:
            for fault in ("hang", "cut", "slow", "hang and cut"):
                await asyncio.sleep(1)
                if "hang" in fault:
                    proxy.thawed.clear()
                if fault == "slow":
                    proxy.delay = 0.3
                await asyncio.sleep(3)
                if "cut" in fault:
                    proxy.cut()
                proxy.thawed.set()
                proxy.delay = 0.0
                mended = time.monotonic()
                await asyncio.sleep(2.5)
                slowest = max(slowest, history.first_after(mended))
        await judge(on, history, report)
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'todo' AND backend_type = 'client backend'"
        report.at_most("connections of the server", (await on.rows(count))[0][0] - 1, POOL + 2)
        report.at_most("slowest answer in seconds", history.slowest, 4)
        report.at_most("seconds to the first acknowledgement afterwards", slowest, 2)
