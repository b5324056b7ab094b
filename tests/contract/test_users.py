"""The users family as a single-page app with a shared Better Auth secret speaks it: `{tasks, count}`, 400."""

from tests.client import Api
from tests.matching import A_MOMENT, AN_ID


async def test_the_whole_conversation(api: Api) -> None:
    credentials = {"email": "margaret.hamilton@example.com", "password": "program alarm 1202"}
    signed_up = await api.post("/api/auth/signup", credentials)
    token, user_id = signed_up.body["token"], signed_up.body["user_id"]

    created = await api.post(
        f"/api/users/{user_id}/tasks", {"title": "Priority display", "status": "IN_PROGRESS"}, token=token
    )
    assert created.status == 201
    task = {
        "id": AN_ID,
        "user_id": user_id,
        "title": "Priority display",
        "description": None,
        "status": "IN_PROGRESS",
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
    assert created.headers["Location"] == f"/api/users/{user_id}/tasks/{task_id}"

    listed = await api.get(f"/api/users/{user_id}/tasks", token=token)
    assert listed.status == 200
    assert listed.body == {"tasks": [task], "count": 1}

    read = await api.get(f"/api/users/{user_id}/tasks/{task_id}", token=token)
    assert read.status == 200
    assert read.body == task

    updated = await api.put(f"/api/users/{user_id}/tasks/{task_id}", {"description": "1201 as well"}, token=token)
    assert updated.status == 200
    assert updated.body == task | {"description": "1201 as well", "version": 2}

    patched = await api.patch(f"/api/users/{user_id}/tasks/{task_id}", {"description": None}, token=token)
    assert patched.status == 200
    assert patched.body == task | {"version": 3}

    completed = await api.patch(f"/api/users/{user_id}/tasks/{task_id}/complete", {"completed": True}, token=token)
    assert completed.status == 200
    done = {"status": "COMPLETED", "completed": True, "completed_at": A_MOMENT}
    assert completed.body == task | done | {"version": 4}

    deleted = await api.delete(f"/api/users/{user_id}/tasks/{task_id}", token=token)
    assert deleted.status == 204
    assert (await api.get(f"/api/users/{user_id}/tasks", token=token)).body == {"tasks": [], "count": 0}

    invalid = await api.put(f"/api/users/{user_id}/tasks/{task_id}", {"completed": "yes"}, token=token)
    assert invalid.status == 400
    assert invalid.body["errors"] == [{"field": "completed", "message": "must be true or false", "code": "bool_type"}]
