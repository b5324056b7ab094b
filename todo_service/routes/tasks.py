"""Tasks: list, create, read, update, complete, delete, the same handlers for all four families."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from aiohttp import hdrs, web

from todo_service.auth.access import Access
from todo_service.auth.accounts import GONE
from todo_service.auth.caller import CALLER, OWNER, REQUEST_ID, Kind
from todo_service.config.settings import SETTINGS
from todo_service.errors import AmbiguousTask, NotFound, QuotaExceeded, TaskIdTaken, Unauthenticated
from todo_service.postgres.connector import Connection
from todo_service.postgres.pool import DATABASE
from todo_service.queries import audit_log, clocks, tasks
from todo_service.queries.audit_log import Act
from todo_service.queries.tasks import Changes, Inserted, TaskRow
from todo_service.routes import responses, task_log
from todo_service.routes.idempotency import HEADER as IDEMPOTENCY_KEY
from todo_service.routes.idempotency import once
from todo_service.routes.table import Route
from todo_service.routes.task_lists import TOTAL, list_any_tasks, list_tasks
from todo_service.wire import etags
from todo_service.wire.families import FAMILY
from todo_service.wire.task_lists import ListQuery
from todo_service.wire.tasks import Task, TaskCompletion, TaskCreate, TaskUpdate, document, read_task_id

READING = {hdrs.METH_GET, hdrs.METH_HEAD}
NO_SUCH_TASK = "You have no task with this id. Check the id; the task may have been deleted."


async def create_task(request: web.Request, body: TaskCreate) -> web.Response:
    """Create a task. One that you have under this `id` already, and as it was sent, is answered as it is, with 200."""

    async def act(db: Connection) -> web.Response:
        inserted = await create(db, request, body)
        if not inserted.is_new:
            return _answer(request, inserted.task)
        location = f"{request.rel_url.raw_path.rstrip('/')}/{inserted.task.id}"
        return _answer(request, inserted.task, status=201, headers={hdrs.LOCATION: location})

    return await once(request, act)


async def create(db: Connection, request: web.Request, body: TaskCreate) -> Inserted:
    """Create a task, or find it under its id. Whoever comes from elsewhere gets a row with the first task; an account
    that is gone stays gone. Raises `QuotaExceeded`, `TaskIdTaken`, `Unauthenticated`.
    """
    caller, limit = request[CALLER], request.app[SETTINGS].max_tasks_per_user
    task = body.new_task()
    if caller.kind is Kind.ACCOUNT:
        inserted = await tasks.insert(db, owner_id=caller.user_id, max_tasks=limit, task=task)
        if inserted is None and await clocks.select_version(db, owner_id=caller.user_id) is None:
            raise Unauthenticated(GONE)
    else:
        inserted = await tasks.insert_first(db, owner_id=caller.user_id, email=caller.email, max_tasks=limit, task=task)
    if inserted is None:
        raise QuotaExceeded(f"You may hold at most {limit:,} tasks. {QuotaExceeded.remedy}")
    if inserted.is_new:
        task_log.note_created(request, inserted.task)
    elif not body.agrees(inserted.task):
        raise TaskIdTaken
    return inserted


async def read_task(request: web.Request) -> web.Response:
    """Read one task. Who shows its `ETag` in `If-None-Match` gets 304 without a body."""
    task_id = _task_id(request)
    async with request.app[DATABASE].connection() as db:
        row = await tasks.select(db, owner_id=request[OWNER], task_id=task_id)
    if row and etags.matches(request.headers.getall(hdrs.IF_NONE_MATCH, []), tag := etags.of_task(row.version)):
        return responses.not_modified(tag)
    return _answer(request, row)


async def update_task(request: web.Request, body: TaskUpdate) -> web.Response:
    """Change the fields that are sent; absent ones stay, null clears a description or a due date. PUT and PATCH are the
    same.
    """
    task_id = _task_id(request)
    async with request.app[DATABASE].connection() as db:
        answer = await _change(db, request, task_id, body.changes())
    task_log.tell(request)
    return answer


async def complete_task(request: web.Request, body: TaskCompletion | None) -> web.Response:
    """Complete or reopen the task as the body says; without a body, toggle it. Give a toggle an `Idempotency-Key`, so
    that sending it again does not toggle it back.
    """
    task_id = _task_id(request)
    changes = Changes(completed=body.completed) if body else Changes(toggles_completed=True)
    return await once(request, lambda db: _change(db, request, task_id, changes, op="complete"))


async def delete_task(request: web.Request) -> web.Response:
    """Delete one task."""
    task_id = _task_id(request)
    async with request.app[DATABASE].connection() as db:
        version = await tasks.delete(db, owner_id=request[OWNER], task_id=task_id, if_versions=_if_versions(request))
    if version is None:
        raise NotFound(NO_SUCH_TASK)
    task_log.note_deleted(request, task_id)
    task_log.tell(request)
    return responses.nothing()


async def _change(
    db: Connection, request: web.Request, task_id: UUID, changes: Changes, *, op: str = "update"
) -> web.Response:
    row = await tasks.update(
        db,
        owner_id=request[OWNER],
        task_id=task_id,
        changes=changes,
        if_versions=_if_versions(request),
    )
    if row is not None:
        task_log.note_change(request, op, row)
    return _answer(request, row)


def _if_versions(request: web.Request) -> list[int] | None:
    return etags.versions(request.headers.getall(hdrs.IF_MATCH, []))


def _task_id(request: web.Request) -> UUID:
    found = read_task_id(request.match_info["task_id"])
    if found is None:
        raise NotFound(NO_SUCH_TASK)
    return found


def _answer(
    request: web.Request, row: TaskRow | None, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    if row is None:
        raise NotFound(NO_SUCH_TASK)
    headers = responses.PRIVATE | {hdrs.ETAG: etags.of_task(row.version)} | (headers or {})
    return responses.json(document(row, request[FAMILY].naming), status=status, headers=headers)


def on_anyones(handler: Callable[..., Awaitable[web.Response]]) -> Callable[..., Awaitable[web.Response]]:
    """The same for an administrator, on whoever's task has the id; a change of somebody else's is audited."""

    async def as_admin(request: web.Request, *inputs: object) -> web.Response:
        async with request.app[DATABASE].connection() as db:
            request[OWNER] = owner = _meant(request, await tasks.select_owners(db, task_id=_task_id(request)))
            if request.method not in READING and owner != request[CALLER].user_id:
                what = f"{request.method} {request.match_info['task_id']}"
                act = Act("task_changed", request[CALLER].user_id, request[REQUEST_ID], what)
                await audit_log.insert(db, act, subject_id=owner)
        return await handler(request, *inputs)

    return as_admin


def _meant(request: web.Request, owners: list[str]) -> str:
    """Whose task it is: the user named in the query, the administrator's own, or the only one there is."""
    wanted = request.query.get("user_id")
    candidate = request[CALLER].user_id if wanted is None else wanted
    if candidate in owners:
        return candidate
    if wanted is not None or not owners:
        raise NotFound("Nobody has a task with this id. Check the id; the task may have been deleted.")
    if len(owners) > 1:
        raise AmbiguousTask
    return owners[0]


TASKS = (
    Route(
        "GET",
        "/tasks",
        list_tasks,
        Access.USER,
        "List tasks",
        query=ListQuery,
        as_admin=list_any_tasks,
        answers={200: list[Task]},
        takes=(hdrs.IF_NONE_MATCH,),
        gives=(hdrs.ETAG, hdrs.LINK, TOTAL),
    ),
    Route(
        "POST",
        "/tasks",
        create_task,
        Access.USER,
        "Create a task",
        body=TaskCreate,
        answers={201: Task, 200: Task},
        takes=(IDEMPOTENCY_KEY,),
        gives=(hdrs.ETAG, hdrs.LOCATION),
        raises=(QuotaExceeded, TaskIdTaken),
    ),
    Route(
        "GET",
        "/tasks/{task_id}",
        read_task,
        Access.USER,
        "Read one task",
        as_admin=on_anyones(read_task),
        answers={200: Task},
        takes=(hdrs.IF_NONE_MATCH,),
        gives=(hdrs.ETAG,),
    ),
    *(
        Route(
            method,
            "/tasks/{task_id}",
            update_task,
            Access.USER,
            summary,
            body=TaskUpdate,
            as_admin=on_anyones(update_task),
            answers={200: Task},
            takes=(hdrs.IF_MATCH,),
            gives=(hdrs.ETAG,),
            name=name,
        )
        for method, name, summary in (
            ("PUT", "put_task", "Update a task, with PUT"),
            ("PATCH", "update_task", "Update a task"),
        )
    ),
    Route(
        "PATCH",
        "/tasks/{task_id}/complete",
        complete_task,
        Access.USER,
        "Complete, reopen or toggle a task",
        body=TaskCompletion,
        may_be_absent=True,
        as_admin=on_anyones(complete_task),
        answers={200: Task},
        takes=(hdrs.IF_MATCH, IDEMPOTENCY_KEY),
        gives=(hdrs.ETAG,),
    ),
    Route(
        "DELETE",
        "/tasks/{task_id}",
        delete_task,
        Access.USER,
        "Delete a task",
        as_admin=on_anyones(delete_task),
        answers={204: None},
        takes=(hdrs.IF_MATCH,),
    ),
)
