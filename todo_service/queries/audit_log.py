"""`audit_log`: acts that an auditor asks about. An entry is written by the transaction of its act and never changed.

Later the entry gets its place in a chain: `sequence` and `seal`, a digest over it and the seal before (auth/audit.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from todo_service.postgres.connection import Connection
from todo_service.queries.statements import Columns


class AuditEntry(NamedTuple):
    """One act: a word for it, its actor, its request, its details in words, and the client's address if it has one."""

    action: str
    actor_id: str
    request_id: str
    detail: str = ""
    address: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One entry as it is stored; `sequence` and `seal` are None until it is sealed."""

    id: int
    at: datetime
    action: str
    actor_id: str
    subject_id: str
    request_id: str
    detail: str
    address: str | None
    sequence: int | None
    seal: bytes | None


AUDIT_COLUMNS = Columns(AuditRow)

INSERT = """
INSERT INTO audit_log (action, actor_id, request_id, detail, address, subject_id) VALUES ($1, $2, $3, $4, $5, $6)"""


async def insert(db: Connection, entry: AuditEntry, *, subject_id: str) -> None:
    """Record an act on one user."""
    await db.execute(INSERT, *entry, subject_id)


IS_DELETED = """
SELECT EXISTS (
    SELECT FROM audit_log
    WHERE action = 'account_deleted' AND subject_id = $1 AND at > statement_timestamp() - interval '1 minute'
)"""


async def is_deleted(db: Connection, *, subject_id: str) -> bool:
    """Return whether this account was deleted within a minute."""
    return await db.fetchval(IS_DELETED, subject_id) is True


class Filter(NamedTuple):
    """The filters of a list of entries; None leaves one out. `until` is exclusive."""

    actor_id: str | None = None
    subject_id: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_ACTOR, _SUBJECT, _ANY_ACTION = "actor_id = $1", "subject_id = $2", "($3::text IS NULL OR action = $3)"
_REST = """
    AND ($4::timestamptz IS NULL OR at >= $4)
    AND ($5::timestamptz IS NULL OR at < $5) AND id < coalesce($6::bigint, 9223372036854775807)"""
# One statement for each filter that has an index, and for two of them. The terms name the parameters that are not used.
_PAGES = {
    "": "$1::text IS NULL AND $2::text IS NULL AND $3::text IS NULL",
    "actor": f"{_ACTOR} AND $2::text IS NULL AND {_ANY_ACTION}",
    "subject": f"$1::text IS NULL AND {_SUBJECT} AND {_ANY_ACTION}",
    "actor subject": f"{_ACTOR} AND {_SUBJECT} AND {_ANY_ACTION}",
    "action": "$1::text IS NULL AND $2::text IS NULL AND action = $3",
}
SELECT_PAGE: Mapping[str, str] = {
    name: f"SELECT {AUDIT_COLUMNS} FROM audit_log WHERE {where} {_REST} ORDER BY id DESC LIMIT $7::bigint"
    for name, where in _PAGES.items()
}


async def select_page(db: Connection, filters: Filter, *, before: int | None, limit: int) -> list[AuditRow]:
    """Return some entries, newest first, those before this id."""
    names = {"actor": filters.actor_id, "subject": filters.subject_id}
    name = " ".join(name for name, value in names.items() if value is not None)
    statement = SELECT_PAGE[name or ("action" if filters.action is not None else "")]
    return [AuditRow(*row) for row in await db.fetch(statement, *filters, before, limit)]


_LOCK_KEY = 0x61756474  # "audt"
LOCK_CHAIN = f"SELECT pg_try_advisory_xact_lock({_LOCK_KEY})"


async def lock_chain(db: Connection) -> bool:
    """Take the right to extend the chain until the transaction ends; False if another process has it."""
    return await db.fetchval(LOCK_CHAIN) is True


WAIT_FOR_CHAIN = f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"


async def wait_for_chain(db: Connection) -> None:
    """Take the right to extend or cut the chain until the transaction ends, waiting for it."""
    await db.execute(WAIT_FOR_CHAIN)


SELECT_HEAD = f"""
SELECT {AUDIT_COLUMNS} FROM audit_log WHERE sequence IS NOT NULL ORDER BY sequence DESC, id DESC LIMIT 1"""


async def select_head(db: Connection) -> AuditRow | None:
    """Return the last entry of the chain."""
    row = await db.fetchrow(SELECT_HEAD)
    return AuditRow(*row) if row else None


SELECT_UNSEALED = f"SELECT {AUDIT_COLUMNS} FROM audit_log WHERE sequence IS NULL ORDER BY id LIMIT $1::bigint"


async def select_unsealed(db: Connection, *, limit: int) -> list[AuditRow]:
    """Return the oldest entries that are not in the chain yet."""
    return [AuditRow(*row) for row in await db.fetch(SELECT_UNSEALED, limit)]


UPDATE_SEALS = """
UPDATE audit_log AS entry SET sequence = sealed.sequence, seal = sealed.seal
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS sealed (id, sequence, seal)
WHERE entry.id = sealed.id AND entry.sequence IS NULL"""


async def update_seals(db: Connection, sealed: Sequence[tuple[int, int, bytes]]) -> None:
    """Add entries to the chain, each by id with its sequence and seal. Needs `lock_chain`."""
    ids, sequences, seals = zip(*sealed, strict=True)
    await db.execute(UPDATE_SEALS, ids, sequences, seals)


SELECT_CHAIN = f"""
SELECT {AUDIT_COLUMNS} FROM audit_log WHERE sequence > $1 ORDER BY sequence, id LIMIT $2::bigint"""


async def select_chain(db: Connection, *, after: int, limit: int) -> list[AuditRow]:
    """Return entries of the chain in its order, those after this sequence."""
    return [AuditRow(*row) for row in await db.fetch(SELECT_CHAIN, after, limit)]


MAY_DELETE = "SELECT has_table_privilege('audit_log', 'DELETE')"


async def may_delete(db: Connection) -> bool:
    """Return whether the role of this connection may delete entries; the role that serves may not."""
    return await db.fetchval(MAY_DELETE) is True


_EXPIRED = "at < statement_timestamp() - $1 * interval '1 day'"
COUNT_EXPIRED = f"""
SELECT count(id) FROM audit_log
WHERE {_EXPIRED} AND (sequence IS NULL OR sequence < (SELECT max(sequence) FROM audit_log))"""


async def count_expired(db: Connection, *, days: int) -> int:
    """Return the number of entries that are older."""
    count: int = await db.fetchval(COUNT_EXPIRED, days)
    return count


# The last sealed entry stays: the chain goes on from it.
SELECT_EXPIRED = f"""
WITH oldest AS (
    SELECT {AUDIT_COLUMNS} FROM audit_log ORDER BY sequence, id LIMIT $2
), beginning AS (
    SELECT
        {AUDIT_COLUMNS},
        bool_and({_EXPIRED} AND (sequence IS NULL OR sequence < (SELECT max(sequence) FROM audit_log)))
            OVER (ORDER BY sequence, id) AS is_expired
    FROM oldest
)
SELECT {AUDIT_COLUMNS} FROM beginning WHERE is_expired ORDER BY sequence, id"""


async def select_expired(db: Connection, *, days: int, at_most: int) -> list[AuditRow]:
    """Return the oldest entries that are older than this, a whole beginning of the chain. Needs `wait_for_chain`."""
    return [AuditRow(*row) for row in await db.fetch(SELECT_EXPIRED, days, at_most)]


DELETE = "DELETE FROM audit_log WHERE id = ANY ($1::bigint[])"


async def delete(db: Connection, rows: Sequence[AuditRow]) -> None:
    """Delete entries. Needs `may_delete`, and `wait_for_chain`."""
    await db.execute(DELETE, [row.id for row in rows])


RESTART_IDS = "SELECT setval(pg_get_serial_sequence('audit_log', 'id'), greatest(max(id), 1)) FROM audit_log"


async def restart_ids(db: Connection) -> None:
    """Continue the ids after the highest one, when entries were copied with theirs."""
    await db.execute(RESTART_IDS)
