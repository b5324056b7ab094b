"""`bin/new-epoch`: begin a new history of changes for every user. Run it once a backup was restored, before the service
is started: clients of delta sync then start over, instead of going on from changes that are lost, and no version that
was given for one of these is given again. Running it twice does no harm.
"""

import argparse
import sys

from rich.console import Console
from rich.progress import Progress

from todo_service.commands import command
from todo_service.database import Database
from todo_service.queries import clocks
from todo_service.settings import Settings

BATCH = 10_000


def main() -> int:
    """Returns 0 when done, 1 if it could not be, 2 for misuse."""
    parser = argparse.ArgumentParser(prog="bin/new-epoch", description=__doc__)
    parser.add_argument("--yes", action="store_true", required=True, help="yes, let every client sync from the start")
    parser.parse_args()
    return command.run_with_database(_renew)


async def _renew(_: Settings, database: Database) -> int:
    renewed, last = 0, ""
    async with database.connection() as db:
        total = await clocks.count_clocks(db)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("epochs", total=total)
        while True:
            async with database.connection() as db:
                count, newest = await clocks.update_epochs(db, after=last, at_most=BATCH)
            if newest is None:
                break
            renewed, last = renewed + count, newest
            progress.update(bar, completed=renewed)
    print(f"{renewed} users have a new epoch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
