"""`bin/users`: list accounts, deactivate, activate, set a role or a password, end sessions. Every change is in the
audit log.
"""

import argparse
import json
from collections.abc import Awaitable, Callable
from functools import partial

from todo_service.auth import administration, recovery
from todo_service.auth.passwords import BcryptPool, PasswordHasher
from todo_service.commands import command
from todo_service.commands.command import CommandError
from todo_service.commands.command_settings import LinkSettings
from todo_service.config.settings import Settings
from todo_service.config.smtp_url import PLACE
from todo_service.errors import NoPasswordAccount, NotFound
from todo_service.postgres.database import Database
from todo_service.queries import audit_log, user_lists, users
from todo_service.queries.user_lists import Filter, Position
from todo_service.queries.users import UserChanges, UserRow
from todo_service.wire import codec
from todo_service.wire.new_passwords import is_email
from todo_service.wire.users import PasswordChange, SignIn, profile

ACTOR = "bin/users"
PAGE = 1000
EXAMPLES = (
    "bin/users list --role admin",
    "bin/users list --inactive --json",
    "bin/users deactivate ada@example.com",
    "bin/users set-role ada@example.com admin",
    "bin/users reset-link ada@example.com",
    "bin/users set-password ada@example.com --password-file /run/secrets/ada",
)


def main() -> int:
    """Return 0 when done, 1 for a failure, 2 for misuse."""
    arguments = _parser().parse_args()
    act: Callable[[argparse.Namespace, Settings, Database], Awaitable[int]] = arguments.act
    return command.run_with_database(partial(act, arguments), needed=LinkSettings)


def _parser() -> command.Parser:
    parser = command.Parser(prog="bin/users", description=__doc__, examples=EXAMPLES)
    parser.add_folder()
    actions = parser.add_subparsers(required=True)
    listing = actions.add_parser("list", help="list accounts, newest first")
    listing.add_argument("--q", type=command.text, help="part of the email or the name")
    listing.add_argument("--role", choices=["user", "admin"])
    listing.add_argument("--inactive", action="store_true", help="only those that are deactivated")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(act=_list)
    for name, changes, text in (
        ("deactivate", UserChanges(is_active=False), "end all sessions and tokens, and refuse sign-ins"),
        ("activate", UserChanges(is_active=True), "allow sign-ins again"),
    ):
        action = _of_one(actions.add_parser(name, help=text))
        action.set_defaults(act=_change, changes=changes)
    role = _of_one(actions.add_parser("set-role", help="give a role"))
    role.add_argument("role", choices=["user", "admin"])
    role.set_defaults(act=_change, changes=None)
    password = _of_one(actions.add_parser("set-password", help="set a password, typed or from a file; sessions end"))
    password.add_password_file()
    password.set_defaults(act=_set_password)
    link = _of_one(actions.add_parser("reset-link", help="print a link for a new password, valid for 30 minutes"))
    link.set_defaults(act=_reset_link)
    revoke = _of_one(actions.add_parser("revoke-sessions", help="end every session and access token"))
    revoke.set_defaults(act=_revoke)
    return parser


def _of_one(action: command.Parser) -> command.Parser:
    which = action.add_mutually_exclusive_group(required=True)
    which.add_argument("id_or_email", nargs="?", type=command.text, help="an id or an email, of one account alone")
    which.add_argument("--id", type=command.text, help="an id")
    which.add_argument("--email", type=command.text, help="an email")
    action.add_json()
    return action


async def _list(arguments: argparse.Namespace, _: Settings, database: Database) -> int:
    filters = Filter(arguments.q, arguments.role, False if arguments.inactive else None)
    after, has_more = None, True
    while has_more:
        async with database.connection() as db:
            page = await user_lists.select_page(db, filters, after=after, skip=0, limit=PAGE)
        for row in page.users:
            print(json.dumps(profile(row)) if arguments.json else _line(row))
            after = Position(row.created_at, row.id)
        has_more = page.has_more
    return 0


async def _change(arguments: argparse.Namespace, _: Settings, database: Database) -> int:
    changes = arguments.changes or UserChanges(role=arguments.role)
    user_id = await _user_id(database, arguments)
    user = await administration.update(database, user_id, changes, command.audit_entry("user_updated", ACTOR))
    command.report(profile(user), _line(user), as_json=arguments.json)
    return 0


async def _set_password(arguments: argparse.Namespace, settings: Settings, database: Database) -> int:
    user_id = await _user_id(database, arguments)
    async with database.connection() as db:
        user = await users.select(db, user_id=user_id)
    try:
        password = command.new_password(arguments.folder, arguments.password_file)
    except (OSError, ValueError) as error:
        return command.fail(f"No password: {error}", status=2)
    body = codec.validate(PasswordChange, {"current_password": "", "new_password": password}, context=settings)
    if user and user.email and is_email(password, user.email):
        return command.fail("new_password must not be the email or its first part", status=2)
    pool = BcryptPool(rounds=settings.bcrypt_rounds)
    hashed = await PasswordHasher(pool).hash(body.new_password)
    await pool.close()
    await administration.set_password(database, user_id, hashed, command.audit_entry("password_set", ACTOR))
    command.report({"id": user_id}, f"{user_id}  has a new password; its sessions have ended", as_json=arguments.json)
    return 0


async def _reset_link(arguments: argparse.Namespace, settings: Settings, database: Database) -> int:
    user_id = await _user_id(database, arguments)
    async with database.transaction() as db:
        user = await users.lock(db, user_id=user_id)
        if user is None or user.password_hash is None:
            raise NoPasswordAccount("This user signs in elsewhere and has no password here.")
        if not user.is_active:
            raise CommandError("This account is deactivated: its links do not work. Run bin/users activate first.")
        token = await recovery.make_token(db, user, recovery.PASSWORD)
        await audit_log.insert(db, command.audit_entry("password_reset_requested", ACTOR), subject_id=user_id)
    url = settings.password_reset_url
    link = url.replace(PLACE, token) if url else token
    about = "" if url else "PASSWORD_RESET_URL is not set: this is the token, for POST /api/v1/auth/password/reset\n"
    command.report({"id": user_id, "link": link}, f"{about}{link}", as_json=arguments.json)
    return 0


async def _revoke(arguments: argparse.Namespace, _: Settings, database: Database) -> int:
    user_id = await _user_id(database, arguments)
    await administration.end_sessions(database, user_id, command.audit_entry("sessions_ended", ACTOR))
    command.report({"id": user_id}, f"{user_id}  every session has ended", as_json=arguments.json)
    return 0


async def _user_id(database: Database, arguments: argparse.Namespace) -> str:
    """Return the id of the user that the options mean.

    Raises:
        CommandError: One user has the text as an id, another one as an email; an auth server may take emails for ids.
        NotFound: There is no such user.
    """
    user_id, email = arguments.id or arguments.id_or_email, arguments.email or arguments.id_or_email
    async with database.connection() as db:
        by_id = await users.select(db, user_id=user_id) if user_id else None
        key = SignIn(email=email, password="").email_key if email else ""
        by_email = await users.select_by_email_key(db, email_key=key) if key else None
    found = {user.id: user for user in (by_id, by_email) if user is not None}
    if not found:
        raise NotFound(f"There is no account {user_id or email}. `bin/users list` shows which there are.")
    if len(found) > 1:
        ids = " and ".join(map(command.printable, found))
        raise CommandError(f"{user_id} is the id of one account and the email of another: {ids}. Use --id or --email.")
    return next(iter(found))


def _line(row: UserRow) -> str:
    user_id, email = command.printable(row.id), command.printable(row.email or "")
    return f"{user_id}  {row.role:5}  {'active' if row.is_active else 'INACTIVE'}  {email}"
