"""`bin/create-admin`: create an administrator's account. The password is typed, or read from a file."""

import argparse
from functools import partial

from todo_service.auth import administration, sign_in
from todo_service.auth.passwords import BcryptPool, PasswordHasher
from todo_service.commands import command
from todo_service.commands.command import fail
from todo_service.config.settings import Settings
from todo_service.postgres.database import Database
from todo_service.queries import users
from todo_service.queries.users import UserChanges
from todo_service.wire import codec
from todo_service.wire.users import Registration, profile

ACTOR = "bin/create-admin"
EXAMPLES = (
    "bin/create-admin ada@example.com",
    "bin/create-admin ada@example.com --name Ada --password-file /run/secrets/ada",
)


def main() -> int:
    """Return 0 when done, 1 for a failure, 2 for misuse."""
    parser = command.Parser(prog="bin/create-admin", description=__doc__, examples=EXAMPLES)
    parser.add_argument("email")
    parser.add_argument("--name", help="the full name")
    parser.add_password_file()
    parser.add_json()
    parser.add_folder()
    arguments = parser.parse_args()
    try:
        password = command.new_password(arguments.folder, arguments.password_file)
    except (OSError, ValueError) as error:
        return fail(f"No password: {error}", status=2)
    document = {"email": arguments.email, "password": password}
    if arguments.name:
        document["full_name"] = arguments.name
    return command.run_with_database(partial(_create, arguments, document))


async def _create(
    arguments: argparse.Namespace, document: dict[str, object], settings: Settings, database: Database
) -> int:
    body = codec.validate(Registration, document, context=settings)
    pool = BcryptPool(rounds=settings.bcrypt_rounds)
    user = await sign_in.register(
        database,
        PasswordHasher(pool),
        email=body.email,
        email_key=body.email_key,
        password=body.password,
        full_name=body.full_name,
        audit=command.audit_entry("registered", ACTOR),
    )
    await pool.close()
    async with database.connection() as db:  # the operator vouches for the address
        await users.update_email_verified(db, user_id=user.id)
    audit = command.audit_entry("user_updated", ACTOR)
    admin = await administration.update(database, user.id, UserChanges(role="admin"), audit)
    command.report(profile(admin), f"{admin.id}  {admin.email} is an administrator", as_json=arguments.json)
    return 0
