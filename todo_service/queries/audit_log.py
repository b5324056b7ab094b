"""`audit_log`: who did what to whom. Rows are written in the transaction of what they tell of, and never changed."""

from typing import NamedTuple

from todo_service.postgres.connector import Connection


class Act(NamedTuple):
    """One act: a word for it, who did it, in which request, and what exactly in words."""

    action: str
    actor_id: str
    request_id: str
    detail: str = ""


INSERT = """
INSERT INTO audit_log (action, actor_id, request_id, detail, subject_id) VALUES ($1, $2, $3, $4, $5)"""


async def insert(db: Connection, act: Act, *, subject_id: str) -> None:
    """Write down one act on one user."""
    await db.execute(INSERT, *act, subject_id)
