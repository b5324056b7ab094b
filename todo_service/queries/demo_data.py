"""Accounts and tasks for demonstrations: many at once, by COPY, with clocks that agree with them."""

import itertools
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from todo_service.postgres.connection import Connection
from todo_service.queries.task_rows import TASK_COLUMNS, TaskRow


class DemoUser(NamedTuple):
    """An account to store: the columns of `users` by their names."""

    id: str
    email: str
    email_key: str
    password_hash: str
    full_name: str
    created_at: datetime
    updated_at: datetime


async def copy(db: Connection, *, users: Sequence[DemoUser], tasks: Sequence[tuple[TaskRow, ...]]) -> None:
    """Store accounts, each with its tasks, in the caller's transaction.

    The versions of a user's tasks are 1, 2, 3 and so on.

    Raises:
        asyncpg.UniqueViolationError: An email has an account (`account_emails_pkey`).
    """
    emails = [(user.email_key, user.id) for user in users]
    await db.copy_records_to_table("account_emails", records=emails, columns=("email_key", "user_id"))
    await db.copy_records_to_table("users", records=users, columns=DemoUser._fields)
    clocks = [(user.id, len(own), len(own)) for user, own in zip(users, tasks, strict=True)]
    await db.copy_records_to_table("task_clocks", records=clocks, columns=("user_id", "version", "task_count"))
    rows = map(attrgetter(*TASK_COLUMNS), itertools.chain.from_iterable(tasks))
    await db.copy_records_to_table("tasks", records=rows, columns=TASK_COLUMNS)
