"""Does the service grow? Its memory when idle, after 100,000 requests of a mixed day, and after 1,000,000.

No tasks are created, so that the lists, and with them the cache, do not grow either.
"""

import tempfile
from pathlib import Path

from tests.bench.peers import PRODUCT_SETTINGS, data, load
from tests.bench.peers.data import SHORT
from tests.bench.peers.scenarios import PRODUCT, all_scenarios
from tests.process import served
from todo_service.postgres import embedded

CONNECTIONS = 64
FIRST, ALL = 100_000, 1_000_000
GROWTH, IDLE = 1.1, 90.0
SECONDS = 10


async def run() -> bool:
    """Print the resident memory in MB; True if it stays within `GROWTH` and the idle process below `IDLE`."""
    with tempfile.TemporaryDirectory() as folder, embedded.running(Path(folder) / "postgres") as url:
        await data.fill_product(url, (SHORT,))
        async with served(DATABASE_URL=url, **PRODUCT_SETTINGS | {"LOG_LEVEL": "WARNING"}) as (process, api):
            port = int(api.base.rpartition(":")[2])
            [day] = [one.requests[PRODUCT] for one in all_scenarios({}, {}) if one.name == "mixed"]
            requests = [request for request in day if not request.startswith(b"POST")]
            sizes, count, errors = [megabytes(process.pid)], 0, 0
            print(f"  idle {sizes[0]:.1f} MB", flush=True)
            for until in (FIRST, ALL):
                while count < until:
                    answers = await load.run(port, requests, expected={200}, seconds=SECONDS, connections=CONNECTIONS)
                    count, errors = count + answers.count, errors + answers.errors
                sizes.append(megabytes(process.pid))
                print(f"  after {count:,} requests, {errors} of them errors: {sizes[-1]:.1f} MB", flush=True)
    growth = sizes[2] / sizes[1]
    print(f"  growth {growth:.2f} (at most {GROWTH}), idle {sizes[0]:.0f} MB (at most {IDLE:.0f})")
    return growth <= GROWTH and sizes[0] <= IDLE and not errors


def megabytes(pid: int) -> float:
    """The memory of a process that it does not share (Linux: `Pss` of `smaps_rollup`)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.partition("\nPss:")[2].split()[0]) / 1024
