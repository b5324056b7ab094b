"""The product beside its peers: the same PostgreSQL, tasks and load, in alternation.

The measure is processor time of server and PostgreSQL for a request: a busy machine changes seconds, hardly ratios.
Peers are the usual FastAPI with an ORM, a FastAPI tuned by hand, and constant bytes from aiohttp as the floor.
"""

import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import asyncpg

from tests.bench.peers import data, load, report
from tests.bench.peers.data import GROUPS, Group
from tests.bench.peers.report import Measurement, Rounds
from tests.bench.peers.scenarios import FLOOR, PRODUCT, TUNED, USUAL, Scenario, all_scenarios, conditions, differences
from tests.bench.peers.servers import APPS, Server, cpu_seconds, python_of_peers, server
from tests.conftest import SECRET_KEY
from todo_service.postgres import embedded

CONNECTIONS, USERS_OF_THE_DAY = 64, 100
QUICK = ("live", "list20", "get", "after_write", "create")
STORED = (Group("few", 5_000, 20), Group("many", 50_000, 20))
PRODUCT_SETTINGS = {
    "SECRET_KEY": SECRET_KEY, "ENVIRONMENT": "staging", "LOG_LEVEL": "INFO", "RATE_LIMIT_READ": "100000",
    "RATE_LIMIT_WRITE": "100000", "MAX_TASKS_PER_USER": "1000000", "ALLOWED_HOSTS": "a,127.0.0.1",
}  # fmt: skip


async def run(folder: Path, names: list[str], *, quick: bool) -> bool:
    """Measure the scenarios of these names, all without one; write `peers.json` and `peers.svg` into `folder`.

    Returns False, with a message, for a name that no scenario has, and if the servers answer differently.
    """
    existing = [*(scenario.name for scenario in all_scenarios({}, {})), "stored"]
    if unknown := set(names).difference(existing):
        print(f"no such scenario: {', '.join(unknown)}; there are {', '.join(existing)}", file=sys.stderr)
        return False
    folder.mkdir(parents=True, exist_ok=True)
    python = str(python_of_peers())
    rounds, seconds = (3, 1.0) if quick else (5, 3.0)
    results: dict[str, Rounds] = {}
    titles: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch, embedded.running(Path(scratch) / "postgres") as url:
        postgres = int((Path(scratch) / "postgres/cluster/postmaster.pid").read_text().split("\n", 1)[0])
        urls = {name: await _database(url, name) for name in ("product", "peers")}
        await data.fill_product(urls["product"], GROUPS)
        await data.fill_peers(urls["peers"], GROUPS)
        async with AsyncExitStack() as stack:
            body = Path(scratch) / "body.json"
            product = await stack.enter_async_context(_product(urls["product"]))
            tags, cursors = await conditions(product.port)
            body.write_bytes(await _body(product.port))
            peer = {"PEER_DATABASE_URL": urls["peers"], "PEER_SECRET": data.PEER_SECRET, "PEER_BODY": str(body)}
            servers = {PRODUCT: product}
            for name in (USUAL, TUNED, FLOOR):
                command = [python, str(APPS / f"{name}.py")]
                servers[name] = await stack.enter_async_context(server(name, command, **peer))
            for scenario in all_scenarios(tags, cursors):
                if scenario.name not in (names or (QUICK if quick else [scenario.name])):
                    continue
                if different := await differences(scenario, {name: one.port for name, one in servers.items()}):
                    print("\n".join(different), file=sys.stderr)
                    return False
                titles[scenario.name] = scenario.title
                results[scenario.name] = await _compare(scenario, servers, postgres, rounds, seconds)
                print("\n".join(report.lines(scenario.title, results[scenario.name])), flush=True)
                if scenario.name == "mixed":
                    await _day(scenario, product)
        if not quick and (not names or "stored" in names):
            results["stored"] = await _stored(url, postgres, rounds, seconds)
            print("\n".join(report.lines("read one, and a list after a write, by tasks stored", results["stored"])))
    report.write_json(folder / "peers.json", results)
    report.write_chart(folder / "peers.svg", titles, results)
    print(f"written: {folder / 'peers.json'}, {folder / 'peers.svg'}")
    return True


def _product(url: str) -> AbstractAsyncContextManager[Server]:
    return server(PRODUCT, [sys.executable, "-m", "todo_service"], DATABASE_URL=url, **PRODUCT_SETTINGS)


async def _database(url: str, name: str) -> str:
    db = await asyncpg.connect(url)
    await db.execute(f"CREATE DATABASE {name}")
    await db.close()
    return url.rpartition("/")[0] + "/" + name


async def _body(port: int) -> bytes:
    """A list of twenty tasks, which the floor answers."""
    user = data.SHORT.user_id(0)
    requests = [data.request("GET", "/api/tasks", data.product_token(user))]
    return await load.one(port, requests[0])


async def _compare(
    scenario: Scenario, servers: Mapping[str, Server], postgres: int, rounds: int, seconds: float
) -> Rounds:
    """Measure the servers in alternation, each round in the other direction."""
    names = [name for name in servers if name in scenario.requests]
    for name in names:
        await _measure(scenario, name, servers[name], postgres, 1.0)
    measured: dict[str, list[Measurement]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            measured[name].append(await _measure(scenario, name, servers[name], postgres, seconds))
    return measured


async def _measure(
    scenario: Scenario, name: str, server: Server, postgres: int, seconds: float, rate: float = 0
) -> Measurement:
    before = cpu_seconds(server.pid), cpu_seconds(postgres)
    answers = await load.run(
        server.port, scenario.requests[name], expected=scenario.expected, seconds=seconds,
        connections=USERS_OF_THE_DAY if rate else CONNECTIONS, rate=rate,
    )  # fmt: skip
    spent = cpu_seconds(server.pid) - before[0], cpu_seconds(postgres) - before[1]
    times = statistics.quantiles([one * 1000 for one in answers.seconds] or [0, 0], n=100)
    count = max(1, answers.count)
    return Measurement(
        spent[0] * 1000 / count, spent[1] * 1000 / count, answers.count / seconds, times[49], times[94], times[98],
        answers.count, answers.errors,
    )  # fmt: skip


async def _day(scenario: Scenario, product: Server) -> None:
    """Print the latencies of the mixed day at half of the rate that the product reaches, with a hundred clients."""
    peak = await _measure(scenario, PRODUCT, product, product.pid, 3)
    half = await _measure(scenario, PRODUCT, product, product.pid, 10, rate=peak.rate / 2)
    print(f"  at half of {peak.rate:.0f}/s: p50 {half.p50_ms:.1f}, p95 {half.p95_ms:.1f}, p99 {half.p99_ms:.1f} ms, "
          f"errors {half.errors}")  # fmt: skip


async def _stored(url: str, postgres: int, rounds: int, seconds: float) -> Rounds:
    """The product with 1,000,000 tasks stored beside the product with 100,000."""
    async with AsyncExitStack() as stack:
        servers, requests = {}, {}
        for name, group in (("1,000,000", STORED[1]), ("100,000", STORED[0])):
            own = await _database(url, group.name)
            await data.fill_product(own, (group,))
            servers[name] = await stack.enter_async_context(_product(own))
            requests[name] = list(_stored_requests(group))
        scenario = Scenario("stored", "", requests)
        return await _compare(scenario, servers, postgres, rounds, seconds)


def _stored_requests(group: Group) -> list[bytes]:
    """For users here and there: read one task, change it, list all."""
    requests = []
    for user in range(0, group.users, group.users // 2_500):
        token, task = data.product_token(group.user_id(user)), f"/api/v1/tasks/{group.task_id(user)}"
        requests += [data.request("GET", task, token), data.request("PATCH", f"{task}/complete", token),
                     data.request("GET", "/api/v1/tasks", token)]  # fmt: skip
    return requests
