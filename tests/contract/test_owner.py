"""The owner family as a single-page app with the user in the path speaks it: snake_case, a bare array, 400."""

from tests.client import Api
from tests.matching import A_MOMENT, A_TOKEN, AN_ID


async def test_the_whole_conversation(api: Api) -> None:
    credentials = {"email": "katherine.johnson@example.com", "password": "launch window azimuth"}

    registered = await api.post("/api/auth/register", credentials)
    assert registered.status == 201
    assert set(registered.body) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert registered.body["access_token"] == A_TOKEN

    signed_in = await api.post("/api/auth/login", credentials)
    assert signed_in.status == 200
    token = signed_in.body["access_token"]
    user_id = signed_in.body["user"]["id"]

    created = await api.post(f"/api/{user_id}/tasks", {"title": "Check the numbers", "due_date": None}, token=token)
    assert created.status == 201
    task = {
        "id": AN_ID,
        "user_id": user_id,
        "title": "Check the numbers",
        "description": None,
        "status": "TODO",
        "completed": False,
        "priority": "MEDIUM",
        "due_date": None,
        "tags": [],
        "created_at": A_MOMENT,
        "updated_at": A_MOMENT,
        "completed_at": None,
        "version": 1,
    }
    assert created.body == task
    task_id = created.body["id"]
    assert created.headers["Location"] == f"/api/{user_id}/tasks/{task_id}"

    listed = await api.get(f"/api/{user_id}/tasks", token=token)
    assert listed.status == 200
    assert listed.body == [task]

    read = await api.get(f"/api/{user_id}/tasks/{task_id}", token=token)
    assert read.status == 200
    assert read.body == task

    updated = await api.put(f"/api/{user_id}/tasks/{task_id}", {"title": "Check them by hand"}, token=token)
    assert updated.status == 200
    assert updated.body == task | {"title": "Check them by hand", "version": 2}

    patched = await api.patch(f"/api/{user_id}/tasks/{task_id}", {"priority": "low"}, token=token)
    assert patched.status == 200
    assert patched.body == task | {"title": "Check them by hand", "priority": "LOW", "version": 3}

    completed = await api.patch(f"/api/{user_id}/tasks/{task_id}/complete", token=token)
    assert completed.status == 200
    assert completed.body["completed"] is True
    assert completed.body["completed_at"] == A_MOMENT

    deleted = await api.delete(f"/api/{user_id}/tasks/{task_id}", token=token)
    assert deleted.status == 204

    invalid = await api.post(f"/api/{user_id}/tasks", {"title": ""}, token=token)
    assert invalid.status == 400
    assert invalid.body["errors"] == [{"field": "title", "message": "must not be empty", "code": "string_too_short"}]

    foreign = await api.get("/api/somebody-else/tasks", token=token)
    assert foreign.status == 403
    assert foreign.body["type"] == "/problems/forbidden"
