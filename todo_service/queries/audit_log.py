"""`audit_log`: acts of one user on another. A row is written by the transaction of the act, and never changed."""

from typing import NamedTuple

from todo_service.postgres.connection import Connection


class AuditEntry(NamedTuple):
    """One act: a word for it, its actor, its request, and its details in words."""

    action: str
    actor_id: str
    request_id: str
    detail: str = ""


INSERT = """
INSERT INTO audit_log (action, actor_id, request_id, detail, subject_id) VALUES ($1, $2, $3, $4, $5)"""


async def insert(db: Connection, entry: AuditEntry, *, subject_id: str) -> None:
    """Record an act on one user."""
    await db.execute(INSERT, *entry, subject_id)
