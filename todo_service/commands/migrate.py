"""`bin/migrate`: bring the database to the schema of this release, or back, or say where it stands."""

import argparse
import asyncio
import sys

from todo_service import logs, migrations
from todo_service.connect import CannotConnectError
from todo_service.database import Connection, single_connection
from todo_service.development import prepared
from todo_service.embedded import EmbeddedError
from todo_service.migrations import MigrationError
from todo_service.settings import Settings, SettingsError


def main() -> int:
    """Run one action; returns 0 when done, 1 if it failed or `status --check` found something to do, 2 for misuse."""
    arguments = _parser().parse_args()
    logs.silence()
    try:
        settings = Settings.load()
        if arguments.action == "reset" and settings.in_production:
            print("reset deletes every task and account, so it does not run in production.", file=sys.stderr)
            return 2
        with prepared(settings) as complete:
            return asyncio.run(_act(complete, arguments))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except (MigrationError, EmbeddedError, CannotConnectError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bin/migrate", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("up", help="apply every pending migration")
    down = actions.add_parser("down", help="take back the newest migrations; their data is lost")
    down.add_argument("steps", nargs="?", type=_steps, default=1, help="how many (default: 1)")
    status = actions.add_parser("status", help="list the migrations and whether each is applied")
    status.add_argument("--check", action="store_true", help="exit with 1 if any is pending or was edited")
    reset = actions.add_parser("reset", help="take back all and apply all: every row is lost")
    reset.add_argument("--yes", action="store_true", required=True, help="yes, delete everything")
    return parser


def _steps(text: str) -> int:
    steps = int(text)
    if steps < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return steps


async def _act(settings: Settings, arguments: argparse.Namespace) -> int:
    known = migrations.find()
    async with single_connection(settings) as db:
        match arguments.action:
            case "status":
                return await _status(db, check=arguments.check)
            case "down":
                await migrations.down(db, known, arguments.steps, print)
            case "reset":
                await migrations.down(db, known, len(known), print)
                await migrations.up(db, known, print)
            case "up":
                applied = await migrations.up(db, known, print)
                print("up to date" if not applied else f"{applied} applied, up to date")
    return 0


async def _status(db: Connection, *, check: bool) -> int:
    known = migrations.find()
    state = await migrations.state(db, known)
    for migration in known:
        word = "pending" if migration in state.pending else "EDITED " if migration in state.edited else "applied"
        print(f"{word}  {migration.name}")
    for number, name in state.applied.items():
        if number > len(known):
            print(f"newer    {name}")
    return 1 if check and (state.pending or state.edited) else 0


if __name__ == "__main__":
    sys.exit(main())
