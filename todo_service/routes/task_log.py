"""The task log: a line for each committed change of a task, with ids and versions, never with its text.

Handlers note their changes; `middleware/access_log.py` writes them after the commit.
"""

from uuid import UUID

from aiohttp import web

from todo_service.auth.caller import CALLER, OWNER, REQUEST_ID
from todo_service.config.settings import SETTINGS
from todo_service.observability.request_record import RECORD
from todo_service.queries.task_changes import Origin
from todo_service.queries.task_rows import TaskRow
from todo_service.routes import history_limit
from todo_service.routes.history_limit import HISTORY_LIMIT


def note(request: web.Request, event: str, **fields: object) -> None:
    """Note an event for the log. `actor_id` is there if the caller is not the owner of the tasks."""
    record, owner_id, actor_id = RECORD.get(), request[OWNER], request[CALLER].user_id
    if record is not None:
        if record.notes is None:
            record.notes = []
        actor = {} if actor_id == owner_id else {"actor_id": actor_id}
        record.notes.append((event, {"user_id": owner_id, **actor, **fields}))


def origin_of(request: web.Request) -> Origin | None:
    """Return the origin of the request's changes for the history of tasks; None if no history is kept."""
    if not request.app[SETTINGS].history_days:
        return None
    caller = request[CALLER]
    if caller.user_id != request[OWNER]:
        return Origin(caller.user_id, "administrator", request[REQUEST_ID])
    return Origin(None, caller.source or str(caller.session_id or caller.kind), request[REQUEST_ID])


def note_task(request: web.Request, event: str, task: TaskRow) -> None:
    """Note a change of a task; "task_completed" becomes "task_reopened" if the task is not completed."""
    if event == "task_completed" and task.status != "COMPLETED":
        event = "task_reopened"
    note(request, event, task_id=str(task.id), version=task.version, status=task.status)
    if not task.version % history_limit.CHECK_EVERY:
        request.app[HISTORY_LIMIT].check(task.user_id)


def note_deleted(request: web.Request, task_id: UUID, version: int) -> None:
    """Note the deletion of a task, and the owner's version after it."""
    note(request, "task_deleted", task_id=str(task_id), version=version)
    if not version % history_limit.CHECK_EVERY:
        request.app[HISTORY_LIMIT].check(request[OWNER])


def note_many(request: web.Request, event: str, **fields: object) -> None:
    """Note an event of any number of changes."""
    note(request, event, **fields)
    request.app[HISTORY_LIMIT].check(request[OWNER])


def discard() -> None:
    """Discard the notes of a transaction that was rolled back."""
    if (record := RECORD.get()) is not None:
        record.notes = None
