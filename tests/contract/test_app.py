"""The app family as a Better Auth front end or an AI agent speaks it: camelCase names, a bare array as list."""

from tests.client import Api
from tests.matching import A_MOMENT, A_REFRESH_TOKEN, A_TOKEN, AN_ID


async def test_the_whole_conversation(api: Api) -> None:
    credentials = {"email": "alan.turing@example.com", "password": "on computable numbers"}

    signed_up = await api.post("/api/auth/signup", credentials)
    assert signed_up.status == 201
    profile = {
        "id": AN_ID,
        "email": "alan.turing@example.com",
        "email_verified": False,
        "full_name": None,
        "role": "user",
        "is_active": True,
        "created_at": A_MOMENT,
        "updated_at": A_MOMENT,
    }
    token_answer = {
        "access_token": A_TOKEN,
        "refresh_token": A_REFRESH_TOKEN,
        "token_type": "bearer",
        "expires_in": 1800,
        "user": profile,
        "token": A_TOKEN,
        "user_id": AN_ID,
        "email": "alan.turing@example.com",
        "created_at": A_MOMENT,
    }
    assert signed_up.body == token_answer
    assert signed_up.body["token"] == signed_up.body["access_token"]

    signed_in = await api.post("/api/auth/signin", credentials)
    assert signed_in.status == 200
    assert signed_in.body == token_answer
    token = signed_in.body["token"]
    user_id = signed_in.body["user_id"]

    verified = await api.get("/api/auth/verify", token=token)
    assert verified.status == 200
    assert verified.body == {"user_id": user_id, "email": "alan.turing@example.com", "verified": True}

    created = await api.post(
        "/api/tasks",
        {"title": "Break the code", "dueDate": "1943-12-31", "priority": "URGENT", "completed": False},
        token=token,
    )
    assert created.status == 422
    assert created.body["errors"] == [
        {"field": "dueDate", "message": "must be in the years 1970 to 9998", "code": "due_date_range"}
    ]

    created = await api.post(
        "/api/tasks",
        {"title": "Break the code", "dueDate": "2027-01-31", "priority": "URGENT", "completed": False},
        token=token,
    )
    assert created.status == 201
    task = {
        "id": AN_ID,
        "userId": user_id,
        "title": "Break the code",
        "description": None,
        "status": "TODO",
        "completed": False,
        "priority": "URGENT",
        "dueDate": "2027-01-31",
        "tags": [],
        "createdAt": A_MOMENT,
        "updatedAt": A_MOMENT,
        "completedAt": None,
        "version": 1,
    }
    assert created.body == task
    task_id = created.body["id"]
    assert created.headers["Location"] == f"/api/tasks/{task_id}"

    read = await api.get(f"/api/tasks/{task_id}", token=token)
    assert read.status == 200
    assert read.body == task

    updated = await api.put(f"/api/tasks/{task_id}", {"completed": True, "dueDate": None}, token=token)
    assert updated.status == 200
    done = {"status": "COMPLETED", "completed": True, "completedAt": A_MOMENT, "dueDate": None}
    assert updated.body == task | done | {"version": 2}

    patched = await api.patch(f"/api/tasks/{task_id}", {"tags": ["enigma"]}, token=token)
    assert patched.status == 200
    assert patched.body == task | done | {"tags": ["enigma"], "version": 3}

    toggled = await api.patch(f"/api/tasks/{task_id}/complete", token=token)
    assert toggled.status == 200
    assert toggled.body == task | {"dueDate": None, "tags": ["enigma"], "version": 4}

    listed = await api.get("/api/tasks", token=token)
    assert listed.status == 200
    assert listed.body == [toggled.body]
    assert listed.headers["X-Total-Count"] == "1"

    deleted = await api.delete(f"/api/tasks/{task_id}", token=token)
    assert deleted.status == 204
    assert (await api.get("/api/tasks", token=token)).body == []
