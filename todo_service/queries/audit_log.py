"""`audit_log`: who did what to whom. Rows are written in the transaction of what they tell of, and never changed."""

from todo_service.connect import Connection

INSERT = "INSERT INTO audit_log (action, actor_id, subject_id, request_id) VALUES ($1, $2, $3, $4)"


async def insert(db: Connection, *, action: str, actor_id: str, subject_id: str, request_id: str) -> None:
    """Write down one act."""
    await db.execute(INSERT, action, actor_id, subject_id, request_id)
