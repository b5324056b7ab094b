"""REDIS_URL: its check, and the connections to the servers that it names: one, those of Sentinel, or of a Cluster."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

SENTINEL_PORT, NODE_PORT = 26379, 6379
_SEVERAL = re.compile(r"(rediss?)\+(sentinel|cluster)://(?:(.*)@)?([^/@]+)(?:/([^/]*))?(?:/([0-9]+))?")
_EXAMPLES = (
    "must be an address such as redis://:password@127.0.0.1:6379/0, rediss://… or unix:///run/redis.sock, "
    "redis+sentinel://:password@host:26379,host:26379/name, or redis+cluster://:password@host:6379,host:6379"
)


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A parsed URL.

    Attributes:
        hosts: Those to ask for the server; none if the URL names it.
        service: The name under which Sentinel knows it.
    """

    kind: Literal["server", "sentinel", "cluster"]
    url: str
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    scheme: str = ""
    credentials: str = ""
    database: str = "0"

    def connection_to(self, host: str, port: int, *, as_sentinel: bool = False) -> AbstractConnection:
        """Return a connection, not yet opened, to one of several servers. Sentinel has no password and no database."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if as_sentinel:
            return _connection(f"{self.scheme}://{address}")
        return _connection(f"{self.scheme}://{self.credentials}{address}/{self.database}")

    def connection(self) -> AbstractConnection:
        """Return a connection, not yet opened, to the server that the URL names."""
        return _connection(self.url)


def parse(url: str) -> RedisUrl:
    """Parse a URL. Raises `ValueError` for one that cannot be used."""
    try:
        parsed = _of_several(url) if "+" in url.partition(":")[0] else _of_one(url)
        if parsed.hosts:
            parsed.connection_to(*parsed.hosts[0])
        else:
            parsed.connection()
    except Exception:  # the library raises many kinds, and repeats the value in them
        raise ValueError(_EXAMPLES) from None
    return parsed


def _of_one(url: str) -> RedisUrl:
    parts = urlsplit(url)
    if parts.scheme != "unix" and not (parts.hostname and re.fullmatch("/?[0-9]*", parts.path)):
        raise ValueError("the library would take the host for localhost, the database for 0")
    return RedisUrl("server", url)


def _of_several(url: str) -> RedisUrl:
    found = _SEVERAL.fullmatch(url)
    if found is None:
        raise ValueError("another form")
    scheme, kind, credentials, hosts, service, database = found.groups(default="")
    if (kind == "sentinel") != bool(service) or (kind == "cluster" and database):
        raise ValueError("a service without Sentinel, or a database in a Cluster")
    port = SENTINEL_PORT if kind == "sentinel" else NODE_PORT
    return RedisUrl(
        "sentinel" if kind == "sentinel" else "cluster",
        url,
        hosts=tuple(_host(host, port) for host in hosts.split(",")),
        service=unquote(service),
        scheme=scheme,
        credentials=f"{credentials}@" if credentials else "",
        database=database or "0",
    )


def _host(text: str, default: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("no host")
    return parts.hostname, parts.port or default


def _connection(url: str) -> AbstractConnection:
    pool = ConnectionPool.from_url(
        url, decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None
    )
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection
