"""`bin/purge`: delete expired rows, in small batches. Safe at any time, and twice at once."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, Protocol

from rich.console import Console
from rich.progress import Progress

from todo_service.auth import audit
from todo_service.commands import command
from todo_service.commands.command_settings import PurgeSettings
from todo_service.config.settings import Settings
from todo_service.postgres.connection import Connection
from todo_service.postgres.database import Database
from todo_service.queries import (
    audit_log,
    expired_changes,
    idempotency_keys,
    one_time_tokens,
    personal_tokens,
    refresh_tokens,
    revocations,
)

BATCH = 1000
CONNECTIONS, MAX_CONNECTIONS = 2, 16
TRIES = 5  # attempts at rows that are in use
PAUSE = 0.2  # seconds between them
EXAMPLES = ("bin/purge", "bin/purge --json", "bin/purge --batch 100   # where 1,000 rows at once hold others up")


class _Delete(Protocol):
    def __call__(self, db: Connection, *, at_most: int) -> Awaitable[int]: ...


class Kind(NamedTuple):
    """A kind of rows that expire: how to count the expired ones, and how to delete some that are not in use.

    Several connections delete at once, unless it `is_chained`.
    """

    name: str
    expired: Callable[[Connection], Awaitable[int]]
    delete: _Delete
    is_chained: bool = False


KINDS = (
    Kind("expired refresh tokens", refresh_tokens.count_expired, refresh_tokens.delete_expired),
    Kind("ended sessions", revocations.count_expired, revocations.delete_expired),
    Kind("expired links", one_time_tokens.count_expired, one_time_tokens.delete_expired),
    Kind("expired personal tokens", personal_tokens.count_expired, personal_tokens.delete_expired),
    Kind("idempotency keys", idempotency_keys.count_expired, idempotency_keys.delete_expired),
)


def main() -> int:
    """Return 0 when done, 1 for a failure, 2 for misuse."""
    parser = command.Parser(prog="bin/purge", description=__doc__, examples=EXAMPLES)
    parser.add_argument("--batch", type=int, default=BATCH, help=f"rows in one statement (default: {BATCH})")
    parser.add_argument(
        "--connections", type=int, default=CONNECTIONS, help=f"that delete at once (default: {CONNECTIONS})"
    )
    parser.add_json()
    arguments = parser.parse_args()
    if arguments.batch < 1:
        parser.error("--batch must be 1 or more")
    if not 1 <= arguments.connections <= MAX_CONNECTIONS:
        parser.error(f"--connections must be 1 to {MAX_CONNECTIONS}")
    return command.run_with_database(partial(_purge, arguments), needed=PurgeSettings)


async def _purge(arguments: argparse.Namespace, settings: Settings, database: Database) -> int:
    kinds = [KINDS[0], *_history(settings.history_days), *KINDS[1:], *await _audit_log(settings, database)]
    expired = [(kind, await _count(kind, database)) for kind in kinds]
    console = Console(stderr=True)
    # Cron mails any output.
    with Progress(console=console, disable=not console.is_terminal) as progress:
        done = [await _purge_kind(kind, left, arguments, database, progress) for kind, left in expired]
    outcome = list(zip(kinds, done, strict=True))
    document: dict[str, object] = {
        kind.name.replace(" ", "_"): {"deleted": deleted, "passed_over": left} for kind, (deleted, left) in outcome
    }
    command.report(document, *(_line(kind, deleted, left) for kind, (deleted, left) in outcome), as_json=arguments.json)
    return 0


def _history(days: int) -> list[Kind]:
    """Return the kinds of past changes of tasks, which are kept for `days`."""
    changes = expired_changes
    expired, past = partial(changes.count_expired, days=days), partial(changes.count_past, days=days)
    return [
        Kind("tombstones of tasks", expired, partial(changes.delete_expired, days=days)),
        Kind("past versions of tasks", past, partial(changes.delete_past, days=days)),
    ]


async def _audit_log(settings: Settings, database: Database) -> list[Kind]:
    """Return the kind of the audit log's entries, unless they are kept."""
    days, keys = settings.audit_retention_days, settings.audit_keys
    async with database.connection() as db:
        if not days:
            return []
        if not await audit_log.may_delete(db):
            print(
                "The audit log is kept: this role may not delete entries; run bin/purge as the owner.", file=sys.stderr
            )
            return []
        if not keys and await audit_log.select_head(db):
            print("The audit log is kept: AUDIT_KEY is needed to sign where its chain is cut.", file=sys.stderr)
            return []
    entry = command.audit_entry(audit.PURGED, "bin/purge")

    async def delete(db: Connection, *, at_most: int) -> int:
        async with db.transaction():
            return await audit.purge(db, keys, days=days, at_most=at_most, entry=entry)

    return [Kind("audit log entries", partial(audit_log.count_expired, days=days), delete, is_chained=True)]


def _line(kind: Kind, deleted: int, left: int) -> str:
    skipped = f", {left} passed over because they are in use: run bin/purge again" if left else ""
    return f"{deleted} {kind.name} deleted{skipped}"


async def _purge_kind(
    kind: Kind, left: int, arguments: argparse.Namespace, database: Database, progress: Progress
) -> tuple[int, int]:
    """Delete expired rows; return how many were deleted, and how many are left."""
    deleted, tries = 0, TRIES
    bar = progress.add_task(kind.name, total=left)

    async def delete_all() -> None:
        nonlocal deleted
        count = 1
        while count:
            async with database.connection() as db:
                count = await kind.delete(db, at_most=arguments.batch)
            deleted += count
            progress.update(bar, completed=deleted)

    while left and tries:
        await asyncio.gather(*(delete_all() for _ in range(1 if kind.is_chained else arguments.connections)))
        left, tries = await _count(kind, database), tries - 1
        await asyncio.sleep(PAUSE if left else 0)
    return deleted, left


async def _count(kind: Kind, database: Database) -> int:
    async with database.connection() as db:
        return await kind.expired(db)
