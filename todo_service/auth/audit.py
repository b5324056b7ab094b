"""The audit log: the entry of a request, and the chain of seals that makes a changed or missing entry visible.

Each entry gets a sequence and a seal: HMAC-SHA256 under `AUDIT_KEY`, which the database does not have, over the entry
and the seal before. Sealing follows the writing by seconds, so that no two acts wait for each other. The last seal, the
head, is logged once a day and at the start: a chain that ends before a logged head was cut.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC

import orjson
import structlog
from aiohttp import web

from todo_service.auth.caller import CALLER, REQUEST_ID
from todo_service.auth.rate_limiting import client_address
from todo_service.config.script_names import named_here
from todo_service.postgres.connection import Connection
from todo_service.postgres.database import DATABASE, Database
from todo_service.postgres.failures import describe, is_schema_mismatch, is_unavailable
from todo_service.queries import audit_log
from todo_service.queries.audit_log import AuditEntry, AuditRow

SEAL_SECONDS = 5  # between two looks for new entries
HEAD_SECONDS = 24 * 60 * 60
BATCH = 500
ANONYMOUS = "anonymous"  # the actor of a request without a caller
EVERYONE = "*"  # the subject of an act on all users
UNKNOWN = "-"  # the subject of a sign-in with an email that has no account
PURGED = "audit_purged"  # its detail is the sequence and the seal at which the chain was cut, signed under the key
REMEDY = "run bin/migrate up, then bin/migrate grants for the role that serves"
GENESIS = b""  # stands for the seal before the first entry

log = structlog.get_logger()


class BrokenChainError(Exception):
    """The chain is not as it was written; the text names the place."""


def entry_of(request: web.Request, action: str, detail: str = "", *, actor_id: str | None = None) -> AuditEntry:
    """Return the entry of an act of this request. `actor_id` is its caller, if it is not named."""
    caller = request.get(CALLER)
    actor = actor_id or (caller.user_id if caller else ANONYMOUS)
    return AuditEntry(action, actor, request[REQUEST_ID], detail, client_address(request))


async def record(request: web.Request, entry: AuditEntry, *, subject_id: str) -> None:
    """Record an act that changes nothing."""
    async with request.app[DATABASE].connection() as db:
        await audit_log.insert(db, entry, subject_id=subject_id)


def seal(key: bytes, previous: bytes, row: AuditRow, sequence: int) -> bytes:
    """Return the seal of an entry at its place in the chain."""
    at = row.at.astimezone(UTC).isoformat(timespec="microseconds")
    content = (sequence, row.id, at, row.action, row.actor_id, row.subject_id, row.request_id, row.detail, row.address)
    return hmac.digest(key, previous + orjson.dumps(content), "sha256")


def seal_all(key: bytes, head: AuditRow | None, rows: Iterable[AuditRow]) -> list[tuple[int, int, bytes]]:
    """Return the continuation of the chain: of each row its id, sequence and seal."""
    sequence, previous = (head.sequence or 0, head.seal or GENESIS) if head else (0, GENESIS)
    sealed = []
    for row in rows:
        sequence += 1
        previous = seal(key, previous, row, sequence)
        sealed.append((row.id, sequence, previous))
    return sealed


class AuditSealer:
    """Extends the chain, in one process at a time, with seals under `key`."""

    def __init__(self, database: Database, *, key: str) -> None:
        self._database = database
        self._key = key.encode()
        self._logged_until = 0.0

    async def follow(self) -> None:
        """Seal new entries for ever. A database that is down is tried again."""
        while True:
            try:
                while await self.seal_some() == BATCH:
                    pass
                await self._log_head()
            except Exception as error:
                if is_schema_mismatch(error):
                    log.error("audit_log_not_sealed", error=describe(error), remedy=named_here(REMEDY))
                elif not is_unavailable(error):
                    log.exception("audit_log_not_sealed")
            await asyncio.sleep(SEAL_SECONDS)

    async def seal_some(self) -> int:
        """Seal the oldest entries without a seal, at most `BATCH`; return their number."""
        async with self._database.connection() as db:
            if not await audit_log.select_unsealed(db, limit=1):
                return 0
        async with self._database.transaction() as db:
            if not await audit_log.lock_chain(db):
                return 0
            rows = await audit_log.select_unsealed(db, limit=BATCH)
            if rows:
                await audit_log.update_seals(db, seal_all(self._key, await audit_log.select_head(db), rows))
            return len(rows)

    async def _log_head(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._logged_until:
            return
        async with self._database.connection() as db:
            head = await audit_log.select_head(db)
        if head is not None and head.seal is not None:
            self._logged_until = now + HEAD_SECONDS
            log.info("audit_log_head", head=f"{head.sequence}:{head.seal.hex()}")


class Chain:
    """Verifies entries in the order of their chain.

    Args:
        keys: The secrets of the seals; each seal is under one of them.
        heads: Heads from the log: the seals in hexadecimal by their sequences.
    """

    def __init__(self, keys: Sequence[str], heads: Mapping[int, str]) -> None:
        self._keys = [key.encode() for key in keys]
        self._heads = dict(heads)
        self._first: AuditRow | None = None
        self._cut = (0, GENESIS)  # the place of the last purge, and the seal there
        self._previous = GENESIS
        self.sequence = 0

    def add(self, row: AuditRow) -> None:
        """Verify the next entry. Raises `BrokenChainError` if it was changed or inserted, or one before is missing."""
        assert row.sequence is not None
        assert row.seal is not None
        if self._first is None:
            self._first = row  # verified at the end, with the seal that a purge has left
        elif row.sequence != self.sequence + 1:
            raise BrokenChainError(f"Entry {self.sequence + 1} is missing.")
        else:
            self._check_seal(row, self._previous)
        if self._heads.pop(row.sequence, row.seal.hex()) != row.seal.hex():
            raise BrokenChainError(f"Entry {row.sequence} is not the one that was logged as a head.")
        if row.action == PURGED:
            self.note_cut(row)
        self.sequence, self._previous = row.sequence, row.seal

    def note_cut(self, row: AuditRow) -> None:
        """Take the place of a purge from its entry, sealed or not yet.

        Raises `BrokenChainError` if none of the keys has signed it.
        """
        place, digest, signature = (*row.detail.split(" "), "", "", "")[:3]
        if not any(hmac.compare_digest(_sign_cut(key, place, digest), signature) for key in self._keys):
            raise BrokenChainError(f"Entry id {row.id} names a cut of the chain that no purge has made.")
        self._cut = max(self._cut, (int(place), bytes.fromhex(digest)))

    def end(self) -> None:
        """Verify the beginning and the end. Raises `BrokenChainError` if either is not where it was."""
        place, previous = self._cut
        if (first := self._first) is not None:
            if first.sequence != place + 1:
                raise BrokenChainError(f"The chain begins at {first.sequence}, and no purge has cut it there.")
            self._check_seal(first, previous)
        if missing := [head for head in self._heads if head > place]:
            raise BrokenChainError(f"The chain ends at {self.sequence}, before the head {max(missing)}: it was cut.")

    def _check_seal(self, row: AuditRow, previous: bytes) -> None:
        assert row.sequence is not None
        assert row.seal is not None
        if not any(hmac.compare_digest(row.seal, seal(key, previous, row, row.sequence)) for key in self._keys):
            raise BrokenChainError(f"Entry {row.sequence} (id {row.id}) is not as it was written.")


async def verified(db: Connection, keys: Sequence[str], heads: Mapping[int, str]) -> AsyncIterator[AuditRow]:
    """Yield the entries of the chain in its order, each verified. Raises `BrokenChainError`, at the latest at the end.

    The arguments are those of `Chain`.
    """
    chain = Chain(keys, heads)
    while rows := await audit_log.select_chain(db, after=chain.sequence, limit=BATCH):
        for row in rows:
            chain.add(row)
            yield row
    for row in await audit_log.select_unsealed(db, limit=BATCH):
        if row.action == PURGED:
            chain.note_cut(row)
    chain.end()


async def purge(db: Connection, keys: Sequence[str], *, days: int, at_most: int, entry: AuditEntry) -> int:
    """Delete the oldest entries that are older than this, and record where the chain is cut; return their number.

    Needs a transaction, and a role that may delete them; for sealed ones also a key to sign the cut.
    """
    await audit_log.wait_for_chain(db)
    rows = await audit_log.select_expired(db, days=days, at_most=at_most)
    sealed = [row for row in rows if row.seal is not None]
    if sealed and not keys:
        return 0
    await audit_log.delete(db, rows)
    if sealed:
        last = sealed[-1]
        assert last.seal is not None
        place, digest = str(last.sequence), last.seal.hex()
        detail = f"{place} {digest} {_sign_cut(keys[0].encode(), place, digest)}"
        await audit_log.insert(db, entry._replace(detail=detail), subject_id=EVERYONE)
    return len(rows)


def _sign_cut(key: bytes, place: str, digest: str) -> str:
    return hmac.digest(key, f"cut at {place} {digest}".encode(), "sha256").hex()


AUDIT_SEALER = web.AppKey("audit_sealer", AuditSealer)
