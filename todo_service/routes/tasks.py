"""Tasks: list, create, read, update, complete, delete, with the same handlers for all four families."""

from uuid import UUID

from aiohttp import hdrs, web

from todo_service.auth import audit
from todo_service.auth.access import Access
from todo_service.auth.accounts import make_owner
from todo_service.auth.caller import CALLER, OWNER
from todo_service.config.scopes import Scope
from todo_service.config.settings import SETTINGS
from todo_service.errors import NO_SUCH_TASK, NotFound, QuotaExceeded, TaskIdTaken
from todo_service.postgres.batched_reads import BatchedReads
from todo_service.postgres.connection import Connection
from todo_service.postgres.database import DATABASE
from todo_service.queries import clocks, tasks
from todo_service.queries.audit_log import AuditEntry
from todo_service.queries.task_rows import Changes, Inserted, TaskRow
from todo_service.routes import responses, task_log
from todo_service.routes.descriptions import describe
from todo_service.routes.idempotency import HEADER as IDEMPOTENCY_KEY
from todo_service.routes.idempotency import run_idempotent
from todo_service.routes.public_paths import public_path
from todo_service.routes.table import Route
from todo_service.routes.task_lists import list_any_tasks, list_tasks
from todo_service.wire import etags
from todo_service.wire.families import FAMILY
from todo_service.wire.task_lists import ListQuery
from todo_service.wire.tasks import Task, TaskCompletion, TaskCreate, TaskUpdate, document, parse_task_id


@describe(
    {201: Task, 200: Task},
    request_headers=(IDEMPOTENCY_KEY,),
    response_headers=(hdrs.ETAG, hdrs.LOCATION),
    errors=(QuotaExceeded, TaskIdTaken),
)
async def create_task(request: web.Request, body: TaskCreate) -> web.Response:
    """Create a task. If you have it already under this `id`, just as it was sent, the answer is 200."""
    return await run_idempotent(request, _create, body)


@describe({200: Task}, request_headers=(hdrs.IF_NONE_MATCH,), response_headers=(hdrs.ETAG,))
async def read_task(request: web.Request) -> web.Response:
    """Read one task. With its current `ETag` in `If-None-Match` the answer is 304 without a body."""
    task_id = task_id_of(request)
    row = await request.app[TASK_READS].read((request[OWNER], task_id))
    if row and row.user_id != request[CALLER].user_id:
        await audit.record(request, audit.entry_of(request, "task_read", str(task_id)), subject_id=row.user_id)
    if row and hdrs.IF_NONE_MATCH in request.headers:
        tag = etags.of_task(row.version)
        if etags.matches(request.headers.getall(hdrs.IF_NONE_MATCH), tag):
            return responses.not_modified(tag)
    return respond(request, row)


@describe({200: Task}, request_headers=(hdrs.IF_MATCH,), response_headers=(hdrs.ETAG,))
async def update_task(request: web.Request, body: TaskUpdate) -> web.Response:
    """Change the fields that are sent; absent ones stay, null clears a description or a due date. PUT and PATCH are the
    same.
    """
    task_id = task_id_of(request)
    async with request.app[DATABASE].connection() as db:
        return await _change(db, request, task_id, body.changes(), "update")


@describe({200: Task}, request_headers=(hdrs.IF_MATCH, IDEMPOTENCY_KEY), response_headers=(hdrs.ETAG,))
async def complete_task(request: web.Request, body: TaskCompletion | None) -> web.Response:
    """Complete or reopen the task by `completed`; without a body, toggle it.

    Give a toggle an `Idempotency-Key`, so that sending it again does not toggle it back.
    """
    changes = Changes(completed=body.completed) if body else Changes(toggles_completed=True)
    return await run_idempotent(request, _change, task_id_of(request), changes, "complete")


@describe({204: None}, request_headers=(hdrs.IF_MATCH,))
async def delete_task(request: web.Request) -> web.Response:
    """Delete one task."""
    task_id = task_id_of(request)
    async with request.app[DATABASE].connection() as db:
        version = await tasks.delete(
            db,
            owner_id=request[OWNER],
            task_id=task_id,
            if_versions=_if_versions(request),
            audit=None if request[CALLER].user_id == request[OWNER] else _audit_entry(request, task_id),
            origin=task_log.origin_of(request),
        )
    if version is None:
        raise NotFound(NO_SUCH_TASK)
    task_log.note_deleted(request, task_id, version)
    return responses.no_content()


async def insert_task(db: Connection, request: web.Request, body: TaskCreate) -> Inserted:
    """Create a task, or find it under its id. A caller from elsewhere gets a row with the first task.

    Raises:
        QuotaExceeded: The caller holds as many tasks as allowed.
        TaskIdTaken: The caller's task with this id differs from the body.
        Unauthenticated: The account is gone; it is not created again.
    """
    caller, limit = request[CALLER], request.app[SETTINGS].max_tasks_per_user
    task, origin = body.new_task(), task_log.origin_of(request)
    inserted = await tasks.insert(db, owner_id=caller.user_id, max_tasks=limit, task=task, origin=origin)
    if inserted is None:  # at the limit, or without a row, which another request may be making
        if await clocks.select_version(db, owner_id=caller.user_id) is None:
            await make_owner(db, caller)
        inserted = await tasks.insert(db, owner_id=caller.user_id, max_tasks=limit, task=task, origin=origin)
    if inserted is None:
        raise QuotaExceeded(f"You may hold at most {limit:,} tasks. {QuotaExceeded.remedy}")
    if inserted.is_new:
        task_log.note_task(request, "task_created", inserted.task)
    elif not body.agrees(inserted.task):
        raise TaskIdTaken
    return inserted


async def _create(db: Connection, request: web.Request, body: TaskCreate) -> web.Response:
    inserted = await insert_task(db, request, body)
    if not inserted.is_new:
        return respond(request, inserted.task)
    location = public_path(request, f"{request.rel_url.raw_path.rstrip('/')}/{inserted.task.id}")
    return respond(request, inserted.task, status=201, headers={hdrs.LOCATION: location})


async def _change(
    db: Connection, request: web.Request, task_id: UUID, changes: Changes, operation: str
) -> web.Response:
    row = await tasks.update(
        db,
        owner_id=request[OWNER],
        task_id=task_id,
        changes=changes,
        if_versions=_if_versions(request),
        audit=None if request[CALLER].user_id == request[OWNER] else _audit_entry(request, task_id),
        operation=operation,
        origin=task_log.origin_of(request),
    )
    if row is not None:
        task_log.note_task(request, f"task_{operation}d", row)
    return respond(request, row)


def _if_versions(request: web.Request) -> list[int] | None:
    if hdrs.IF_MATCH not in request.headers:
        return None
    return etags.versions(request.headers.getall(hdrs.IF_MATCH))


def _audit_entry(request: web.Request, task_id: UUID) -> AuditEntry:
    """The audit log's entry for a change of another user's task, which only an administrator can make."""
    return audit.entry_of(request, "task_changed", f"{request.method} {task_id}")


def task_id_of(request: web.Request) -> UUID:
    """Return the task id in the path. Raises `NotFound` for a text that is none."""
    task_id = parse_task_id(request.match_info["task_id"])
    if task_id is None:
        raise NotFound(NO_SUCH_TASK)
    return task_id


def respond(
    request: web.Request, row: TaskRow | None, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Return a task with its `ETag`, in the names of the request's family. Raises `NotFound` if there is none."""
    if row is None:
        raise NotFound(NO_SUCH_TASK)
    headers = responses.PRIVATE | {hdrs.ETAG: etags.of_task(row.version)} | (headers or {})
    naming = request[FAMILY].naming if FAMILY in request else "snake"
    return responses.json(document(row, naming), status=status, headers=headers)


TASK_READS: web.AppKey[BatchedReads[tuple[str, UUID], TaskRow]] = web.AppKey("task_reads", BatchedReads)

ONE = "/tasks/{task_id}"
READ, WRITE, DELETE = (Scope.TASKS_READ,), (Scope.TASKS_WRITE,), (Scope.TASKS_DELETE,)
TASKS = (
    Route("GET", "/tasks", list_tasks, Access.USER, "List tasks", READ, query=ListQuery, admin_handler=list_any_tasks),
    Route("POST", "/tasks", create_task, Access.USER, "Create a task", WRITE, body=TaskCreate),
    Route("GET", ONE, read_task, Access.USER, "Read one task", READ, any_owner=True),
    Route(
        "PUT",
        ONE,
        update_task,
        Access.USER,
        "Update a task, with PUT",
        WRITE,
        body=TaskUpdate,
        any_owner=True,
        name="put_task",
    ),
    Route("PATCH", ONE, update_task, Access.USER, "Update a task", WRITE, body=TaskUpdate, any_owner=True),
    Route(
        "PATCH",
        f"{ONE}/complete",
        complete_task,
        Access.USER,
        "Complete, reopen or toggle a task",
        WRITE,
        body=TaskCompletion,
        may_be_absent=True,
        any_owner=True,
    ),
    Route("DELETE", ONE, delete_task, Access.USER, "Delete a task", DELETE, any_owner=True),
)
