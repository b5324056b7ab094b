"""The first conversation of docs/tutorial.md, held by a client that was generated from the API's description."""

import sys
from uuid import UUID

from todo_client import AuthenticatedClient, Client
from todo_client.api.auth import register, sign_in
from todo_client.api.sync import sync_tasks
from todo_client.api.tasks import complete_task, create_task, list_tasks, update_task
from todo_client.api.tasks_app import app_complete_task, app_list_tasks
from todo_client.api.tasks_owner import owner_put_task
from todo_client.api.tasks_users import users_delete_task, users_list_tasks
from todo_client.models import (
    CountedTasks,
    OlderTokens,
    PreconditionFailedProblem,
    Priority,
    Profile,
    Registration,
    SignIn,
    Status,
    SyncPage,
    Task,
    TaskChanged,
    TaskCompletion,
    TaskCreate,
    TaskPage,
    TaskUpdate,
    ValidationFailedProblem,
)

BASE, EMAIL = sys.argv[1:]
PASSWORD = "correct horse 9"
ID = UUID("5f0c1c3e-8f1b-4c5e-9a52-3d1f7a1b2c3d")

stranger = Client(BASE)
profile = register.sync(client=stranger, body=Registration(email=EMAIL, password=PASSWORD, full_name="Ada"))
assert isinstance(profile, Profile)
signed_in = sign_in.sync(client=stranger, body=SignIn(email=EMAIL, password=PASSWORD))
assert isinstance(signed_in, OlderTokens)
assert signed_in.user_id == profile.id
ada = AuthenticatedClient(BASE, token=signed_in.token)

draft = TaskCreate(id=ID, title="Write to Charles", priority=Priority.HIGH, due_date="2026-12-24")
created = create_task.sync_detailed(client=ada, body=draft)
assert created.status_code == 201
assert isinstance(created.parsed, Task)
assert created.parsed.due_date == "2026-12-24"

done = complete_task.sync(ID, client=ada, body=TaskCompletion(completed=True))
assert isinstance(done, Task)
assert done.status is Status.COMPLETED
page = list_tasks.sync(client=ada, limit=20, completed=True)
assert isinstance(page, TaskPage)
assert (page.total, page.tasks[0].id, page.next_cursor) == (1, ID, None)

toggled = app_complete_task.sync(ID, client=ada)
assert toggled.completed is False
assert [task.due_date for task in app_list_tasks.sync(client=ada)] == ["2026-12-24"]

changed = owner_put_task.sync(profile.id, ID, client=ada, body=TaskUpdate(due_date=None, tags=["letters"]))
assert isinstance(changed, Task)
assert (changed.due_date, changed.tags) == (None, ["letters"])
changes = sync_tasks.sync(client=ada)
assert isinstance(changes, SyncPage)
assert [change.task.title for change in changes.changes if isinstance(change, TaskChanged)] == ["Write to Charles"]

assert users_delete_task.sync_detailed(profile.id, ID, client=ada).status_code == 204
left = users_list_tasks.sync(profile.id, client=ada)
assert isinstance(left, CountedTasks)
assert left.count == 0

stamps = TaskCreate(title="Buy stamps")
answers = [create_task.sync_detailed(client=ada, body=stamps, idempotency_key="buy-stamps-1") for _ in range(2)]
assert answers[0].parsed == answers[1].parsed
assert answers[1].headers["Idempotency-Replayed"] == "true"

stale = update_task.sync(answers[0].parsed.id, client=ada, body=TaskUpdate(title="Buy more stamps"), if_match='"5"')
assert isinstance(stale, PreconditionFailedProblem)
refused = create_task.sync(client=ada, body=TaskCreate(title=""))
assert isinstance(refused, ValidationFailedProblem)
assert refused.errors[0].field == "title"
print("held")
