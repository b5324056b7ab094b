"""`bin/distribute`: spread the tables over the servers of a Citus cluster, by the user that their rows belong to.

DATABASE_URL leads to the database on the coordinator, whose workers have been added; it is migrated, empty or filled.
Stop every running service first. The statements are printed before they run, all in one transaction: if it is
interrupted, the database is as before. Running it again does what is left to do, nothing if all is done.
"""

import argparse
from functools import partial

import asyncpg

from todo_service.commands import command
from todo_service.commands.command import CommandError
from todo_service.config.database_options import database_options
from todo_service.config.settings import Settings
from todo_service.postgres import distribution, migrations
from todo_service.postgres.connector import single_connection
from todo_service.queries import catalog

EXAMPLES = ("bin/distribute --dry-run   # print the statements alone", "bin/distribute")


def main() -> int:
    """Return 0 when done, 1 for a failure, 2 for misuse."""
    parser = command.Parser(prog="bin/distribute", description=__doc__, examples=EXAMPLES)
    parser.add_argument("--dry-run", action="store_true", help="print the statements and change nothing")
    return command.run(partial(_distribute, parser.parse_args()))


async def _distribute(arguments: argparse.Namespace, settings: Settings) -> int:
    all_migrations = migrations.find()
    async with single_connection(database_options(settings)) as db:
        try:
            async with db.transaction():
                await migrations.lock(db)
                if (await migrations.state(db, all_migrations)).pending:
                    raise CommandError("The database is not up to date: bin/migrate up first.")
                statements = await distribution.plan(db)
                if not statements:
                    print("all tables are distributed already")
                elif arguments.dry_run:
                    print(";\n".join([*statements, ""]), end="")
                else:
                    await catalog.update_lock_timeout(db)
                    await distribution.apply(db, statements, lambda statement: print(f"{statement};", flush=True))
        except asyncpg.LockNotAvailableError:
            raise CommandError("A table is in use. Stop every running service, then try again.") from None
        if not arguments.dry_run:
            print(f"{await distribution.configure(db)};")
            if statements:
                print("done: start the services again, so that they take note of it")
    return 0
