"""What happened to tasks, for the log: a line for each change, once it is committed; ids and versions, never words."""

from uuid import UUID

import structlog
from aiohttp import web

from todo_service.auth.caller import CALLER, OWNER
from todo_service.queries.tasks import TaskRow

log = structlog.get_logger()


class Events(list[tuple[str, dict[str, object]]]):
    """What the request has done so far, in a transaction that may still fail."""


EVENTS = web.RequestKey("events", Events)


def note(request: web.Request, event: str, **fields: object) -> None:
    """Remember what was done until it is certain."""
    if EVENTS not in request:
        request[EVENTS] = Events()
    request[EVENTS].append((event, fields))


def note_created(request: web.Request, task: TaskRow) -> None:
    """Remember that a task was created."""
    _note_task(request, "task_created", task)


def note_change(request: web.Request, op: str, task: TaskRow) -> None:
    """Remember an "update" of a task, or its completion or reopening ("complete")."""
    is_completed = task.status == "COMPLETED"
    event = "task_updated" if op == "update" else "task_completed" if is_completed else "task_reopened"
    _note_task(request, event, task)


def note_deleted(request: web.Request, task_id: UUID) -> None:
    """Remember that a task was deleted."""
    note(request, "task_deleted", task_id=str(task_id))


def forget(request: web.Request) -> None:
    """Nothing of it is so: the transaction was taken back, and is tried again."""
    request.pop(EVENTS, None)


def tell(request: web.Request) -> None:
    """Log what was done, now that it is committed. `actor_id` is there if it was not the tasks' owner."""
    owner_id, actor_id = request[OWNER], request[CALLER].user_id
    actor = {} if actor_id == owner_id else {"actor_id": actor_id}
    for event, fields in request.pop(EVENTS, ()):
        log.info(event, user_id=owner_id, **actor, **fields)


def _note_task(request: web.Request, event: str, task: TaskRow) -> None:
    note(request, event, task_id=str(task.id), version=task.version, status=task.status)
