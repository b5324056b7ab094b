"""The v1 family as a web front end with roles speaks it: every URL, body and answer typed out."""

from tests.client import Api
from tests.matching import A_MOMENT, A_REFRESH_TOKEN, A_TOKEN, AN_ID


async def test_the_whole_conversation(api: Api) -> None:
    credentials = {"email": "Grace.Hopper@Example.com", "password": "nanoseconds of wire"}

    registered = await api.post("/api/v1/auth/register", {**credentials, "full_name": "Grace Hopper"})
    assert registered.status == 201
    profile = {
        "id": AN_ID,
        "email": "Grace.Hopper@example.com",
        "email_verified": False,
        "full_name": "Grace Hopper",
        "role": "user",
        "is_active": True,
        "created_at": A_MOMENT,
        "updated_at": A_MOMENT,
    }
    assert registered.body == profile

    signed_in = await api.post("/api/v1/auth/login", credentials)
    assert signed_in.status == 200
    assert signed_in.body == {
        "access_token": A_TOKEN,
        "refresh_token": A_REFRESH_TOKEN,
        "token_type": "bearer",
        "expires_in": 1800,
        "user": profile,
    }
    assert signed_in.headers["Cache-Control"] == "no-store"
    token = signed_in.body["access_token"]
    user_id = registered.body["id"]

    me = await api.get("/api/v1/auth/me", token=token)
    assert me.status == 200
    assert me.body == profile

    empty = await api.get("/api/v1/tasks", token=token)
    assert empty.status == 200
    assert empty.body == {"tasks": [], "total": 0, "skip": 0, "limit": 100, "next_cursor": None}

    created = await api.post(
        "/api/v1/tasks",
        {
            "title": "  Find the moth  ",
            "description": "Relay 70, panel F",
            "priority": "high",
            "due_date": "2026-12-24T18:00:00+01:00",
            "tags": ["bug", " hardware ", "bug"],
        },
        token=token,
    )
    assert created.status == 201
    task = {
        "id": AN_ID,
        "user_id": user_id,
        "title": "Find the moth",
        "description": "Relay 70, panel F",
        "status": "TODO",
        "completed": False,
        "priority": "HIGH",
        "due_date": "2026-12-24T17:00:00Z",
        "tags": ["bug", "hardware"],
        "created_at": A_MOMENT,
        "updated_at": A_MOMENT,
        "completed_at": None,
        "version": 1,
    }
    assert created.body == task
    task_id = created.body["id"]
    assert created.headers["Location"] == f"/api/v1/tasks/{task_id}"

    read = await api.get(f"/api/v1/tasks/{task_id}", token=token)
    assert read.status == 200
    assert read.body == task

    updated = await api.put(f"/api/v1/tasks/{task_id}", {"status": "IN_PROGRESS"}, token=token)
    assert updated.status == 200
    assert updated.body == task | {"status": "IN_PROGRESS", "version": 2}

    patched = await api.patch(f"/api/v1/tasks/{task_id}", {"due_date": None, "description": None}, token=token)
    assert patched.status == 200
    task |= {"status": "IN_PROGRESS", "due_date": None, "description": None}
    assert patched.body == task | {"version": 3}

    completed = await api.patch(f"/api/v1/tasks/{task_id}/complete", {"completed": True}, token=token)
    assert completed.status == 200
    done = {"status": "COMPLETED", "completed": True, "completed_at": A_MOMENT, "version": 4}
    assert completed.body == task | done

    toggled = await api.patch(f"/api/v1/tasks/{task_id}/complete", token=token)
    assert toggled.status == 200
    assert toggled.body == task | {"status": "TODO", "version": 5}

    await api.post("/api/v1/tasks", {"title": "Second"}, token=token)
    page = await api.get("/api/v1/tasks?skip=1&limit=1", token=token)
    assert page.status == 200
    assert page.body == {
        "tasks": [task | {"status": "TODO", "version": 5}],
        "total": 2,
        "skip": 1,
        "limit": 1,
        "next_cursor": None,
    }
    assert page.headers["X-Total-Count"] == "2"

    deleted = await api.delete(f"/api/v1/tasks/{task_id}", token=token)
    assert deleted.status == 204
    assert deleted.raw == b""

    gone = await api.get(f"/api/v1/tasks/{task_id}", token=token)
    assert gone.status == 404
    assert gone.body == {
        "type": "/problems/not-found",
        "title": "Not found",
        "status": 404,
        "detail": "You have no task with this id. Check the id; the task may have been deleted.",
        "request_id": gone.headers["X-Request-ID"],
    }

    invalid = await api.post("/api/v1/tasks", {"title": " ", "due_date": "2026-12-24T18:00:00"}, token=token)
    assert invalid.status == 422
    assert invalid.body["errors"] == [
        {
            "field": "due_date",
            "message": "has no UTC offset: end it with Z or an offset such as +02:00, or send a plain date",
            "code": "due_date_without_offset",
        },
        {"field": "title", "message": "must not be empty", "code": "string_too_short"},
    ]
