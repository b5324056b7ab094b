"""The past of one's tasks: history, trash, restoration, undo."""

from collections.abc import Callable
from uuid import UUID

from aiohttp import hdrs, web

from todo_service.auth.access import Access, check_scope
from todo_service.auth.accounts import lock_tasks
from todo_service.auth.caller import CALLER, OWNER
from todo_service.config.scopes import Scope
from todo_service.config.settings import SETTINGS
from todo_service.errors import HistoryExpired, NotFound, QuotaExceeded, UndoConflict, invalid
from todo_service.postgres.connection import Connection
from todo_service.postgres.database import DATABASE
from todo_service.queries import task_changes, tasks, undo
from todo_service.queries.task_changes import ChangeRow, Origin
from todo_service.queries.undo import Undone
from todo_service.routes import responses, task_log
from todo_service.routes.descriptions import describe
from todo_service.routes.idempotency import CHANGES_NOTHING, run_idempotent
from todo_service.routes.idempotency import HEADER as IDEMPOTENCY_KEY
from todo_service.routes.table import Route
from todo_service.routes.tasks import respond, task_id_of
from todo_service.wire import history
from todo_service.wire.history import HistoryQuery, TaskHistory, Trash, UndoRequest, UndoResult
from todo_service.wire.tasks import Task

UNDO_SCOPES = (Scope.TASKS_WRITE, Scope.TASKS_DELETE)  # both
NOT_IN_TRASH = "You have no deleted task with this id that can be restored. GET /api/v1/trash lists those you have."
NO_SUCH_REQUEST = (
    "No change of your tasks that is kept has this request id. GET /api/v1/tasks/{id}/history has those of a task."
)
NOT_KEPT = "This service keeps no history of tasks (`HISTORY_DAYS` is 0): nothing can be taken back."


@describe({200: TaskHistory}, errors=(NotFound,))
async def read_history(request: web.Request, query: HistoryQuery) -> web.Response:
    """Read the changes of one of your tasks, newest first, each with the task as it was before. Deleted tasks have one
    too.
    """
    task_id, owner_id = task_id_of(request), request[OWNER]
    async with request.app[DATABASE].connection() as db:
        rows = await task_changes.select_history(
            db, owner_id=owner_id, task_id=task_id, days=_days(request), start=query.cursor, limit=query.limit + 1
        )
        if not rows and not await tasks.select(db, [(owner_id, task_id)]):
            raise NotFound("You have no task with this id, and no history of one.")
    cursor = str(rows[query.limit].version) if len(rows) > query.limit else None
    return _page(rows[: query.limit], history.change, "changes", cursor)


@describe({200: Trash})
async def list_trash(request: web.Request, query: HistoryQuery) -> web.Response:
    """List your deleted tasks that can be restored, the last one first."""
    async with request.app[DATABASE].connection() as db:
        rows = await task_changes.select_trash(
            db, owner_id=request[OWNER], days=_days(request), before=query.cursor, limit=query.limit + 1
        )
    page = rows[: query.limit]
    return _page(page, history.trashed, "tasks", str(page[-1].version) if len(rows) > query.limit else None)


@describe(
    {200: Task},
    request_headers=(IDEMPOTENCY_KEY,),
    response_headers=(hdrs.ETAG,),
    errors=(NotFound, QuotaExceeded),
)
async def restore_task(request: web.Request) -> web.Response:
    """Restore a deleted task, with a new version. A task that is there is answered as it is."""
    return await run_idempotent(request, _restore, task_id_of(request), transactional=True)


async def _restore(db: Connection, request: web.Request, task_id: UUID) -> web.Response:
    key = request[OWNER], task_id
    await lock_tasks(db, request[CALLER])
    present = await tasks.select(db, [key])
    if not present:
        version = await task_changes.select_deletion(db, owner_id=key[0], task_id=task_id, days=_days(request))
        if version is None:
            raise NotFound(NOT_IN_TRASH)
        await _apply(db, request, [version], "restore")
        present = await tasks.select(db, [key])
        task_log.note_task(request, "task_restored", present[key])
    return respond(request, present[key])


@describe(
    {200: UndoResult},
    request_headers=(IDEMPOTENCY_KEY,),
    errors=(NotFound, UndoConflict, HistoryExpired, QuotaExceeded),
)
async def undo_changes(request: web.Request, body: UndoRequest) -> web.Response:
    """Take back changes of your tasks, all or none: those of a request, of a source since a moment, or all above a
    version. Each task becomes as it was before the first of them, by a change like any other, which can be taken back
    too.
    """
    for scope in UNDO_SCOPES:
        check_scope(request[CALLER], scope)
    if not request.app[SETTINGS].history_days:
        raise NotFound(NOT_KEPT)
    return await run_idempotent(request, _undo, body, transactional=True)


async def _undo(db: Connection, request: web.Request, body: UndoRequest) -> web.Response:
    owner_id, selection = request[OWNER], body.selection(_days(request))
    version = await lock_tasks(db, request[CALLER])
    count = await undo.count(db, selection, owner_id=owner_id)
    if body.request_id is not None and not count:
        raise NotFound(NO_SUCH_REQUEST)
    if body.to_version is not None:
        if body.to_version > version:
            raise invalid("to_version", f"must be at most {version}, the version of your last change", "future")
        if count < version - body.to_version:
            raise HistoryExpired
    candidates = await undo.select(db, selection, owner_id=owner_id)
    conflicts = set() if body.to_version is not None else {one for one in candidates if one.is_conflict}
    skipped = [str(one.task_id) for one in candidates if one in conflicts]
    if conflicts and body.on_conflict == "fail":
        raise UndoConflict(tuple(skipped))
    versions = [one.version for one in candidates if one not in conflicts]
    changed = await _apply(db, request, versions, "undo")
    task_log.note_many(request, "changes_undone", tasks=len(changed), skipped=len(skipped))
    result = {"changes": [history.undone(task) for task in changed], "skipped": skipped}
    response = responses.json(result, headers=responses.PRIVATE)
    response[CHANGES_NOTHING] = not changed
    return response


async def _apply(db: Connection, request: web.Request, versions: list[int], operation: str) -> list[Undone]:
    limit, origin = request.app[SETTINGS].max_tasks_per_user, task_log.origin_of(request)
    assert isinstance(origin, Origin)
    changed = await undo.apply(
        db, owner_id=request[OWNER], max_tasks=limit, versions=versions, operation=operation, origin=origin
    )
    if changed is None:
        raise QuotaExceeded(f"With these you would hold more than {limit:,} tasks. {QuotaExceeded.remedy}")
    return changed


@describe({204: None})
async def forget_history(request: web.Request) -> web.Response:
    """Forget all past versions of your tasks, deleted ones too. A deleted task cannot be restored then, and no
    change of before can be taken back.
    """
    async with request.app[DATABASE].transaction() as db:
        await task_changes.forget(db, owner_id=request[OWNER])
    task_log.note(request, "history_forgotten")
    return responses.no_content()


def _days(request: web.Request) -> int:
    return request.app[SETTINGS].history_days


def _page(
    rows: list[ChangeRow], document: Callable[[ChangeRow], object], name: str, cursor: str | None
) -> web.Response:
    return responses.json({name: [document(row) for row in rows], "next_cursor": cursor}, headers=responses.PRIVATE)


READ, WRITE = (Scope.TASKS_READ,), (Scope.TASKS_WRITE,)
HISTORY = (
    Route(
        "GET",
        "/api/v1/tasks/{task_id}/history",
        read_history,
        Access.USER,
        "Read the history of a task",
        READ,
        query=HistoryQuery,
    ),
    Route("POST", "/api/v1/tasks/{task_id}/restore", restore_task, Access.USER, "Restore a deleted task", WRITE),
    Route("GET", "/api/v1/trash", list_trash, Access.USER, "List deleted tasks", READ, query=HistoryQuery),
    Route("POST", "/api/v1/undo", undo_changes, Access.USER, "Take back changes", UNDO_SCOPES, body=UndoRequest),
    Route("DELETE", "/api/v1/history", forget_history, Access.USER, "Forget past versions of tasks"),
)
