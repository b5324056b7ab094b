"""Accounts and tasks for demonstrations: many at once, by COPY, with clocks that agree with them."""

import itertools
from collections.abc import Collection, Sequence
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


SELECT_TAKEN = "SELECT email_key FROM users WHERE email_key = ANY ($1::text[])"


async def select_taken(db: Connection, *, email_keys: Collection[str]) -> set[str]:
    """Return those of these email keys that have an account."""
    return {row[0] for row in await db.fetch(SELECT_TAKEN, list(email_keys))}


async def copy(db: Connection, *, users: Sequence[DemoUser], tasks: Sequence[tuple[TaskRow, ...]]) -> None:
    """Store accounts, each with its tasks, in the caller's transaction.

    The versions of a user's tasks are 1, 2, 3 and so on.

    Raises:
        asyncpg.UniqueViolationError: An email has an account (`users_email_key_unique`).
    """
    await db.copy_records_to_table("users", records=users, columns=DemoUser._fields)
    clocks = [(user.id, len(own), len(own)) for user, own in zip(users, tasks, strict=True)]
    await db.copy_records_to_table("task_clocks", records=clocks, columns=("user_id", "version", "task_count"))
    rows = map(attrgetter(*TASK_COLUMNS), itertools.chain.from_iterable(tasks))
    await db.copy_records_to_table("tasks", records=rows, columns=TASK_COLUMNS)
