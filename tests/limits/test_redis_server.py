"""Counts in a Redis with Sentinel, and in a Cluster: found at the start, and again after it has moved."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from tests.limits.test_rate_redis import Witness, admit
from tests.proxy import free_port
from tests.valkey import Valkey
from todo_service.config import redis_url
from todo_service.limits.rate_redis import RedisWindows
from todo_service.limits.redis_server import HASH_TAG

SLOT = key_slot(HASH_TAG.encode())
KEY = f"{HASH_TAG}:read/ada"


@contextmanager
def running(*servers: Valkey) -> Iterator[None]:
    """Servers, started in this order."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.kill()


@asynccontextmanager
async def windows_at(url: str) -> AsyncIterator[RedisWindows]:
    windows = RedisWindows(url, Witness())
    await windows.open()
    try:
        yield windows
    finally:
        await windows.close()


async def tell(server: Valkey, *command: str) -> Any:
    client = Redis.from_url(server.url, decode_responses=True)
    try:
        return await client.execute_command(*command)  # type: ignore[no-untyped-call]
    finally:
        await client.aclose()


async def until_admitted(windows: RedisWindows) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                assert await admit(windows, KEY, 100, 60)
                return
            except ConnectionError:
                await asyncio.sleep(0.05)


async def test_after_a_failover_the_master_of_sentinel_counts(tmp_path: Path) -> None:
    master = Valkey(tmp_path)
    replica = Valkey(tmp_path, replicaof=f"127.0.0.1 {master.port}")
    sentinel = Valkey(tmp_path, sentinel_of=("limits", master))
    with running(master, replica, sentinel):
        async with asyncio.timeout(15):  # until Sentinel knows the replica too
            while not await tell(sentinel, "SENTINEL", "REPLICAS", "limits"):
                await asyncio.sleep(0.1)
        url = f"redis+sentinel://127.0.0.1:1,{sentinel.address}/limits"
        async with windows_at(url) as windows:
            assert windows.up, "the first address is not a Sentinel"
            assert [await admit(windows, f"{KEY} 2", 2, 60) for _ in range(3)] == [True, True, False]
            master.kill()
            await until_admitted(windows)
            assert (await tell(replica, "ROLE"))[0] == "master"
            assert await tell(replica, "LLEN", KEY) >= 1


async def test_in_a_cluster_the_node_of_the_slot_counts(tmp_path: Path) -> None:
    buses = [str(free_port()) for _ in range(2)]
    nodes = [
        Valkey(tmp_path, cluster_enabled="yes", cluster_config_file=f"nodes-{bus}.conf", cluster_port=bus)
        for bus in buses
    ]
    with running(*nodes):
        first, second = nodes
        ids = [await tell(node, "CLUSTER", "MYID") for node in nodes]
        await tell(first, "CLUSTER", "ADDSLOTSRANGE", "0", str(SLOT))
        await tell(second, "CLUSTER", "ADDSLOTSRANGE", str(SLOT + 1), "16383")
        await tell(first, "CLUSTER", "MEET", "127.0.0.1", str(second.port), buses[1])
        async with asyncio.timeout(15):
            while "cluster_state:ok" not in str([await tell(node, "CLUSTER", "INFO") for node in nodes]) or any(
                [len(await tell(node, "CLUSTER", "SLOTS")) < 2 for node in nodes]
            ):
                await asyncio.sleep(0.1)
        async with windows_at(f"redis+cluster://{second.address},{first.address}") as windows:
            await until_admitted(windows)
            assert await tell(first, "LLEN", KEY) >= 1
            await tell(first, "DEL", KEY)  # a slot with keys does not move
            for node in (second, first):
                await tell(node, "CLUSTER", "SETSLOT", str(SLOT), "NODE", ids[1])
            await until_admitted(windows)
            async with asyncio.timeout(15):
                while await tell(second, "EXISTS", KEY) == 0:
                    await until_admitted(windows)


@pytest.mark.parametrize(
    ("url", "hosts", "service", "server"),
    [
        ("redis+sentinel://a,b:7/limits", (("a", 26379), ("b", 7)), "limits", "redis://c:5/0"),
        ("rediss+sentinel://u:p%40@a/limits/3", (("a", 26379),), "limits", "rediss://u:p%40@c:5/3"),
        ("redis+cluster://:p@a,[::1]:7", (("a", 6379), ("::1", 7)), "", "redis://:p@c:5/0"),
    ],
)
def test_the_forms_of_an_address(url: str, hosts: object, service: str, server: str) -> None:
    parsed = redis_url.parse(url)
    assert (parsed.hosts, parsed.service) == (hosts, service)
    assert f"{parsed.scheme}://{parsed.credentials}c:5/{parsed.database}" == server
    assert parsed.connection_to("c", 5).port == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a,b", "redis+sentinel:///limits", "redis+sentinel://a/", "redis+cluster://a/1",
        "redis+cluster://", "redis+cluster://a,,b", "redis+cluster://a:x", "redis+proxy://a", "unix+sentinel://a/limits",
    ],
)  # fmt: skip
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"redis\+sentinel://:password@host:26379"):
        redis_url.parse(url)
