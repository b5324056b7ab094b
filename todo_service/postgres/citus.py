"""Citus: PostgreSQL whose tables are spread over several servers by the user that their rows belong to.

A statement about one user goes to one shard as it is, if it inserts by VALUES alone and takes no moment while it
changes rows; one that inserts what it has selected is carried out in several steps by the coordinator. Statements that
this would make dear, or that it refuses, have a second form, which runs where `is_distributed` says so.
"""

import re
from typing import Any

import asyncpg

SECONDS = 1.0
SELECT_IS_PRESENT = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
_SHARD = re.compile(r"_\d{6,}$", re.ASCII)
_OF_SHARD = re.compile(r"\b([a-z]\w*)_\d{6,}\b", re.ASCII)


async def is_present(connection: Any) -> bool:
    """Return whether this database is the coordinator's, or one that can become it. Closes the connection on errors."""
    try:
        return await connection.fetchval(SELECT_IS_PRESENT, timeout=SECONDS) is True
    except BaseException:
        connection.terminate()
        raise


def constraint_of(error: Any) -> str | None:
    """Return the name of the constraint that an error of PostgreSQL is about, if it is about one.

    Citus passes on the text of a server's error alone, in which the name has the number of the shard at its end.
    """
    if name := getattr(error, "constraint_name", None):
        return _SHARD.sub("", name)
    if not isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return None
    names = _OF_SHARD.findall(error.args[0])  # the message alone: the details may have a client's text
    return names[-1] if names else None
