"""The Redis server that counts the requests: the one of REDIS_URL, the master that Sentinel names, or a Cluster's node.

In a Cluster all keys begin with one hash tag, so they are in one slot and one node has them: each decision is one step
of one script, and a pipeline goes to one server. After a failover the old server refuses, and the new one is asked for.
"""

from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import ConnectionError as NotReachedError
from redis.exceptions import RedisError

from todo_service.config.redis_url import RedisUrl

HASH_TAG = "{todo}"
MASTER = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME")
SLOTS = ("CLUSTER", "SLOTS")


async def connect(url: RedisUrl) -> AbstractConnection:
    """Return an open connection to the server that takes writes. Raises the library's exceptions and `OSError`."""
    if url.kind == "server":
        return await _opened(url.connection())
    connection = await _opened(url.connection_to(*await _find(url)))
    try:
        if url.kind == "sentinel" and (await send(connection, [("ROLE",)]))[0][0] != "master":
            raise NotReachedError("Sentinel names a server that is no master")
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


async def send(connection: AbstractConnection, commands: list[tuple[Any, ...]]) -> list[Any]:
    """Send commands at once and return the results. Raises the library's exceptions, also for an error of Redis."""
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    return [await connection.read_response() for _ in commands]


async def _find(url: RedisUrl) -> tuple[str, int]:
    """Return the address of the server, from the first host that answers and knows it."""
    failure: Exception = NotReachedError("no host knows the server")
    for host, port in url.hosts:
        try:
            connection = await _opened(url.connection_to(host, port, as_sentinel=url.kind == "sentinel"))
            try:
                if url.kind == "sentinel":
                    [address] = await send(connection, [(*MASTER, url.service)])
                    found = tuple(address) if address else None
                else:
                    [slots] = await send(connection, [SLOTS])
                    found = _node_of(slots, key_slot(HASH_TAG.encode()))
            finally:
                await connection.disconnect(nowait=True)
        except (RedisError, OSError) as error:
            failure = error
        else:
            if found is not None:
                return str(found[0]) or host, int(found[1])
    raise failure


def _node_of(slots: list[list[Any]], slot: int) -> tuple[Any, ...] | None:
    """Return the master of a slot out of the answer to CLUSTER SLOTS: ranges, each with its master and replicas."""
    return next((tuple(master) for first, last, master, *_ in slots if first <= slot <= last), None)


async def _opened(connection: AbstractConnection) -> AbstractConnection:
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection
