"""Task reads with and without eight sign-ins a second beside them, at the password cost of production.

Both loads arrive at a fixed rate, whatever the answers do, so that a stall is seen by every request it holds up. The
rounds alternate, so that whatever else the machine does falls on both.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.client import PASSWORD, Api, User
from tests.process import served

ROUNDS = 3
SECONDS = 5.0
READS_A_SECOND = 50
LOGINS_A_SECOND = 8
LIMIT = 3.0
T = TypeVar("T")


async def run() -> bool:
    """Print the 99th percentiles of both; True if the one beside sign-ins is below `LIMIT` times the other."""
    alone: list[float] = []
    beside: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with served(DATA_DIR=folder, BCRYPT_ROUNDS="12", LOG_LEVEL="WARNING") as (_, api):
            ada = await api.new_user()
            for n in range(20):
                await api.post("/api/v1/tasks", {"title": f"task {n}"}, as_=ada)
            await _reads(api, ada)
            for _ in range(ROUNDS):
                alone += await _reads(api, ada)
                reads, statuses = await asyncio.gather(_reads(api, ada), _logins(api, ada))
                beside += reads
    ratio = _p99(beside) / _p99(alone)
    print(f"list of 20, {READS_A_SECOND} a second, for {ROUNDS} times {SECONDS:g} s each way; milliseconds")
    for name, times in (("alone", alone), (f"beside {LOGINS_A_SECOND} sign-ins a second", beside)):
        print(f"  {name:30} p50 {statistics.median(times) * 1000:7.2f}   p99 {_p99(times) * 1000:7.2f}")
    print(f"  sign-ins of the last round: {statuses.count(200)} answered 200, {statuses.count(503)} refused with 503")
    print(f"  p99 ratio {ratio:.2f} (must stay below {LIMIT:g})")
    return ratio < LIMIT


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


async def _reads(api: Api, user: User) -> list[float]:
    async def read() -> float:
        started = time.perf_counter()
        assert (await api.get("/api/v1/tasks?limit=20", as_=user)).status == 200
        return time.perf_counter() - started

    return await _at_rate(READS_A_SECOND, read)


async def _logins(api: Api, user: User) -> list[int]:
    async def log_in() -> int:
        return (await api.post("/api/v1/auth/login", {"email": user.email, "password": PASSWORD})).status

    return await _at_rate(LOGINS_A_SECOND, log_in)


async def _at_rate(rate: float, act: Callable[[], Awaitable[T]]) -> list[T]:
    """Begin one act every 1/`rate` seconds for `SECONDS`, finished or not; then wait for all."""
    tasks = []
    for _ in range(int(rate * SECONDS)):
        tasks.append(asyncio.ensure_future(act()))
        await asyncio.sleep(1 / rate)
    return await asyncio.gather(*tasks)
