"""REDIS_URL: its check, and the connection that it describes."""

import re
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def connection_to(url: str) -> AbstractConnection:
    """Return a connection, not yet opened, to the Redis at `url`. Raises `ValueError` for a URL that cannot be used."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "unix" and not (parts.hostname and re.fullmatch("/?[0-9]*", parts.path)):
            raise ValueError("the library would take the host for localhost, the database for 0")
        pool = ConnectionPool.from_url(
            url, decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None
        )
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    except Exception:  # the library raises many kinds, and repeats the value in them
        raise ValueError(
            "must be an address such as redis://:password@127.0.0.1:6379/0, rediss://… or unix:///run/redis.sock"
        ) from None
    return connection
