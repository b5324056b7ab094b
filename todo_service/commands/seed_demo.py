"""`bin/seed-demo`: fill the database with demonstration accounts and tasks: demo-0001@example.com and so on, all with
one password. Existing accounts stay as they are, so it may be run again with more users.
"""

import argparse
import itertools
import secrets
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from todo_service.auth.passwords import BcryptPool, PasswordHasher
from todo_service.commands import command, demo_data
from todo_service.commands.command import fail
from todo_service.config.database_options import database_options
from todo_service.config.settings import Settings
from todo_service.postgres.connector import single_connection
from todo_service.queries import account_emails
from todo_service.queries import demo_data as queries
from todo_service.queries.demo_data import DemoUser
from todo_service.queries.task_rows import TaskRow
from todo_service.wire import codec
from todo_service.wire.users import Registration

ROWS = 20_000  # tasks in one transaction, roughly
MOST_USERS = 1_000_000
EXAMPLES = (
    "bin/seed-demo",
    "bin/seed-demo --users 1000 --tasks 100 --seed 7",
    "bin/seed-demo --password-file demo.password --json",
)


def main() -> int:
    """Return 0 when done, 1 for a failure, 2 for misuse."""
    parser = command.Parser(prog="bin/seed-demo", description=__doc__, examples=EXAMPLES)
    parser.add_argument("--users", type=int, default=10, help="how many accounts there shall be (default: 10)")
    parser.add_argument("--tasks", type=int, default=50, help="tasks of each new account (default: 50)")
    parser.add_argument("--seed", type=int, default=1, help="another number gives other people and tasks (default: 1)")
    today = datetime.now(UTC).date()
    parser.add_argument("--today", type=_day, default=today, help="the day it is the demonstration of")
    parser.add_argument(
        "--password-file", type=Path, help="a file with the password alone; else one is made and printed"
    )
    parser.add_argument("--yes", action="store_true", help="yes, also in production")
    parser.add_json()
    parser.add_folder()
    arguments = parser.parse_args()
    if not 1 <= arguments.users <= MOST_USERS or arguments.tasks < 0:
        parser.error(f"--users is from 1 to {MOST_USERS}, --tasks 0 or more")
    try:
        file = arguments.password_file
        password = command.password_from(arguments.folder / file) if file else secrets.token_urlsafe(12)
    except (OSError, UnicodeDecodeError) as error:
        return fail(f"No password: {error}", status=2)
    return command.run(partial(_seed, arguments, password))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a date such as 2026-12-24") from None


async def _seed(arguments: argparse.Namespace, password: str, settings: Settings) -> int:
    if settings.in_production and not arguments.yes:
        return fail("These accounts share a password: in production bin/seed-demo needs --yes.", status=2)
    if arguments.tasks > settings.max_tasks_per_user:
        return fail(f"--tasks is more than MAX_TASKS_PER_USER ({settings.max_tasks_per_user}).", status=2)
    codec.validate(Registration, {"email": _email(1), "password": password}, context=settings)
    created = await _fill(arguments, password, settings)
    existing = arguments.users - created
    document: dict[str, object] = {"users": created, "tasks": created * arguments.tasks, "already_there": existing}
    document |= {"first": _email(1), "last": _email(arguments.users)}
    lines = [f"{created} users with {arguments.tasks} tasks each: {_email(1)} to {_email(arguments.users)}"]
    if existing:
        lines.append(f"{existing} of them were there already and stay as they are, with the password they had")
    if created and arguments.password_file is None:
        document["password"] = password
        lines.append(f"The password of the new ones: {password}")
    command.report(document, *lines, as_json=arguments.json)
    return 0


async def _fill(arguments: argparse.Namespace, password: str, settings: Settings) -> int:
    """Create the missing accounts and return their number. Each batch is a transaction of its own."""
    pool = BcryptPool(rounds=settings.bcrypt_rounds)
    created = 0
    async with single_connection(database_options(settings)) as db:
        password_hash = await PasswordHasher(pool).hash(password)
        await pool.close()
        with Progress(console=Console(stderr=True)) as progress:
            bar = progress.add_task("users", total=arguments.users)
            for numbers in _batches(arguments.users, max(1, ROWS // (arguments.tasks + 1))):
                async with db.transaction(isolation="read_committed"):
                    taken = await account_emails.select_taken(db, email_keys=[_email(number) for number in numbers])
                    missing = [number for number in numbers if _email(number) not in taken]
                    users = [_user(arguments, number, password_hash) for number in missing]
                    tasks = [_tasks(arguments, user, number) for user, number in zip(users, missing, strict=True)]
                    await queries.copy(db, users=users, tasks=tasks)
                created += len(missing)
                progress.advance(bar, len(numbers))
    return created


def _batches(count: int, size: int) -> Iterator[list[int]]:
    numbers = iter(range(1, count + 1))
    while batch := list(itertools.islice(numbers, size)):
        yield batch


def _user(arguments: argparse.Namespace, number: int, password_hash: str) -> DemoUser:
    user_id, name, since = demo_data.person(arguments.seed, number, arguments.today)
    return DemoUser(user_id, _email(number), _email(number), password_hash, name, since, since)


def _tasks(arguments: argparse.Namespace, user: DemoUser, number: int) -> tuple[TaskRow, ...]:
    return demo_data.tasks_of(user.id, arguments.tasks, arguments.seed, number, arguments.today)


def _email(number: int) -> str:
    """Return the email, which is also its key: lower case, ASCII."""
    return f"demo-{number:04}@example.com"
