"""`bin/migrate`: bring the database to the schema of this release, or back, or report its state."""

import argparse
from functools import partial
from pathlib import Path

from todo_service.commands import command
from todo_service.commands.command import fail
from todo_service.commands.command_settings import MigrationSettings
from todo_service.config.database_options import database_options
from todo_service.config.settings import Settings
from todo_service.postgres import distribution, grants, migrations, row_security
from todo_service.postgres.connection import Connection
from todo_service.postgres.connector import single_connection
from todo_service.postgres.migrations import Migration, State

EXAMPLES = (
    "bin/migrate up",
    "bin/migrate status --json",
    "bin/migrate --check || echo 'not up to date'",
    "bin/migrate grants todo_app   # a role that serves, without the right to change tables",
    "bin/migrate grants todo_app --password-file /run/secrets/todo_app   # make it as well",
    "bin/migrate down 2",
)


def main() -> int:
    """Run one action; return 0 when done, 1 if it failed or `--check` has a finding, 2 for misuse."""
    parser = _parser()
    arguments = parser.parse_args()
    if (arguments.action is None) != arguments.check:
        parser.error("choose one action, or --check")
    return command.run(partial(_act, arguments), needed=MigrationSettings)


def _parser() -> command.Parser:
    parser = command.Parser(prog="bin/migrate", description=__doc__, examples=EXAMPLES)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a migration is pending or was edited")
    parser.add_folder()
    actions = parser.add_subparsers(dest="action")
    actions.add_parser("up", help="apply every pending migration")
    down = actions.add_parser("down", help="take back the newest migrations; their data is lost")
    down.add_argument("steps", nargs="?", type=_steps, default=1, help="how many (default: 1)")
    down.add_argument("--yes", action="store_true", help="yes, their data is lost; needed outside development")
    actions.add_parser("status", help="list the migrations and whether each is applied").add_json()
    granting = actions.add_parser("grants", help="let a role serve that owns no table; run it as the owner, after up")
    granting.add_argument("role", type=command.text, help="the role that will serve")
    granting.add_argument("--password-file", type=Path, help="make the role, with the password in this file")
    security = actions.add_parser("row-security", help="show other roles the rows of one user at a time")
    security.add_argument("state", choices=["on", "off"])
    reset = actions.add_parser("reset", help="take back all and apply all: every row is lost")
    reset.add_argument("--yes", action="store_true", required=True, help="yes, delete everything")
    return parser


def _steps(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number, 1 or more")
    return int(text)


async def _act(arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.action == "reset" and settings.in_production:
        return fail("reset deletes every task and account, so it does not run in production.", status=2)
    if arguments.action == "down" and settings.environment != "development" and not arguments.yes:
        return fail("down loses the data of these migrations: add --yes.", status=2)
    all_migrations = migrations.find()
    async with single_connection(database_options(settings)) as db:
        match arguments.action:
            case "down":
                if arguments.steps > (count := len((await migrations.state(db, all_migrations)).applied)):
                    return fail(f"Only {count} migrations are applied: nothing is taken back.", status=2)
                await migrations.down(db, all_migrations, arguments.steps, print)
            case "reset":
                await migrations.down(db, all_migrations, len(all_migrations), print)
                await migrations.up(db, all_migrations, print)
            case "up":
                applied = await migrations.up(db, all_migrations, print)
                if await distribution.is_distributed(db):  # new tables too
                    async with db.transaction():
                        await distribution.apply(db, await distribution.plan(db), print)
                if applied:
                    await _grant_again(db, all_migrations, settings)
                print(f"{applied} applied, up to date" if applied else "up to date")
            case "grants":
                role, tables = arguments.role, migrations.tables(all_migrations)
                if file := arguments.password_file:
                    await grants.create_role(db, role, command.password_from(arguments.folder / file))
                for table in await grants.grant(db, role, tables, session_table=settings.session_table):
                    print(f"{table} is not ours: its owner has to let {role} read it and use its schema")
                print(f"{role} may serve: it reads and writes rows, and changes no table")
            case "row-security":
                await row_security.switch(db, on=arguments.state == "on")
                print(f"row-level security is {arguments.state}; ROW_LEVEL_SECURITY of the service must be the same")
            case _:
                state = await migrations.state(db, all_migrations)
                _report(all_migrations, state, as_json=not arguments.check and arguments.json)
                return 1 if arguments.check and (state.pending or state.edited) else 0
    return 0


async def _grant_again(db: Connection, all_migrations: tuple[Migration, ...], settings: Settings) -> None:
    """Give the roles that serve the rights that this release needs, no more and no less."""
    for role in await grants.serving_roles(db):
        await grants.grant(db, role, migrations.tables(all_migrations), session_table=settings.session_table)
        print(f"{role} has the rights to serve with them")


def _report(all_migrations: tuple[Migration, ...], state: State, *, as_json: bool) -> None:
    states = [
        (
            migration.name,
            "pending" if migration in state.pending else "EDITED" if migration in state.edited else "applied",
        )
        for migration in all_migrations
    ]
    states += [(name, "newer") for number, name in state.applied.items() if number > len(all_migrations)]
    document: dict[str, object] = {"migrations": [{"name": name, "state": word.lower()} for name, word in states]}
    command.report(document, *(f"{word:7}  {name}" for name, word in states), as_json=as_json)
