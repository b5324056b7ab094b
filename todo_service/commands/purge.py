"""`bin/purge`: delete what has expired, in small batches. Safe at any time, and twice at once."""

import argparse
import sys
from functools import partial

from rich.console import Console
from rich.progress import Progress

from todo_service.commands import command
from todo_service.database import Database
from todo_service.queries import refresh_tokens
from todo_service.settings import Settings

BATCH = 1000


def main() -> int:
    """Returns 0 when done, 1 if it could not be, 2 for misuse."""
    parser = argparse.ArgumentParser(prog="bin/purge", description=__doc__)
    parser.add_argument("--batch", type=int, default=BATCH, help=f"rows in one statement (default: {BATCH})")
    arguments = parser.parse_args()
    if arguments.batch < 1:
        parser.error("--batch must be 1 or more")
    return command.run_with_database(partial(_purge, arguments.batch))


async def _purge(batch: int, _: Settings, database: Database) -> int:
    deleted = 0
    async with database.connection() as db:
        expired = await refresh_tokens.count_expired(db)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("expired refresh tokens", total=expired)
        while True:
            async with database.connection() as db:
                count = await refresh_tokens.delete_expired(db, at_most=batch)
            deleted += count
            progress.update(task, completed=deleted)
            if count == 0:
                break
    print(f"{deleted} expired refresh tokens deleted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
