"""A new epoch of the database, for `bin/new-epoch` and `bin/restore`: every user's history of changes begins anew, and
every session, token and link ends.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from rich.console import Console
from rich.progress import Progress

from todo_service.postgres.connection import Connection
from todo_service.queries import clocks, one_time_tokens, personal_tokens, refresh_tokens, revocations

BATCH = 10_000


async def renew(connection: Callable[[], AbstractAsyncContextManager[Connection]]) -> int:
    """End every session and token, then renew each user's history, with progress on standard error. Returns the number
    of users.

    `connection` provides a connection for each batch.
    """
    renewed, last = 0, ""
    async with connection() as db:
        async with db.transaction():
            await revocations.update_epoch(db)
            await refresh_tokens.delete_all(db)
            await personal_tokens.delete_all(db)  # one that was ended since the backup would be valid again
            await one_time_tokens.delete_all(db)
        total = await clocks.count_clocks(db)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("epochs", total=total)
        while True:
            async with connection() as db:
                count, newest = await clocks.update_epochs(db, after=last, at_most=BATCH)
            if newest is None:
                return renewed
            renewed, last = renewed + count, newest
            progress.update(bar, completed=renewed)
