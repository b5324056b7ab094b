"""`bin/new-epoch`: start a new history of changes for every user, and end every session.

Run it after a backup was restored by other means than bin/restore, before the service is started: clients of delta sync
then start over, instead of continuing from changes that are lost, and no version of a lost change is assigned again.
Everyone signs in again: sessions and tokens that had ended since the backup would be valid otherwise.
Running it twice does no harm.
"""

import argparse
from functools import partial

from todo_service.commands import command, epochs
from todo_service.config.settings import Settings
from todo_service.postgres.database import Database

EXAMPLES = ("bin/new-epoch --yes", "bin/new-epoch --yes --json")


def main() -> int:
    """Return 0 when done, 1 for a failure, 2 for misuse."""
    parser = command.Parser(prog="bin/new-epoch", description=__doc__, examples=EXAMPLES)
    text = "yes, let every user sign in again and every client sync from the start"
    parser.add_argument("--yes", action="store_true", required=True, help=text)
    parser.add_json()
    return command.run_with_database(partial(_renew, parser.parse_args()))


async def _renew(arguments: argparse.Namespace, _: Settings, database: Database) -> int:
    renewed = await epochs.renew(database.connection)
    line = f"{renewed} users have a new epoch; every session has ended"
    command.report({"users": renewed}, line, as_json=arguments.json)
    return 0
