"""A user who makes changes on and on keeps the last ones."""

from typing import Any

import pytest

from tests.conftest import as_serving_role, make_settings, running_service
from tests.routes.test_sessions import rows
from todo_service.routes import history_limit


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test reaches."""
    for name, value in {"MAX_KEPT": 5, "CHECK_EVERY": 8, "PAUSE": 0.05}.items():
        monkeypatch.setattr(history_limit, name, value)


async def until_trimmed(database_url: str, user_id: str, version: int) -> list[tuple[Any, ...]]:
    """The changes once the oldest one is of this version."""
    kept: list[tuple[Any, ...]] = [(0,)]
    while kept[0][0] < version:
        found = await rows(
            database_url,
            "SELECT version, title, deletes FROM task_changes WHERE user_id = $1 ORDER BY version",
            user_id,
        )
        kept = [tuple(row) for row in found]
    return kept


@pytest.mark.timeout(60)
async def test_single_changes(database_url: str) -> None:
    async with running_service(make_settings(as_serving_role(database_url))) as api:
        ada, bob = await api.new_user(), await api.new_user()
        for user in (ada, bob):
            task = (await api.post("/api/v1/tasks", {"title": "t"}, as_=user)).body
            gone = (await api.post("/api/v1/tasks", {"title": "gone"}, as_=user)).body
            await api.delete(f"/api/v1/tasks/{gone['id']}", as_=user)
            for number in range(5 if user == ada else 3):
                await api.patch(f"/api/v1/tasks/{task['id']}", {"title": f"t{number}"}, as_=user)
        kept = await until_trimmed(database_url, ada.id, 3)
        assert [version for version, _, _ in kept] == [3, 4, 5, 6, 7, 8]
        assert kept[0] == (3, None, True), "that it was deleted is what sync needs"
        others = await rows(database_url, "SELECT version FROM task_changes WHERE user_id = $1", bob.id)
        assert len(others) == 6
        assert (await api.get("/api/v1/trash", as_=ada)).body["tasks"] == []


@pytest.mark.timeout(60)
async def test_an_import_counts_as_many(database_url: str) -> None:
    async with running_service(make_settings(as_serving_role(database_url))) as api:
        ada = await api.new_user()
        await api.post("/api/v1/import", {"tasks": [{"title": f"t{number}"} for number in range(50)]}, as_=ada)
        kept = await until_trimmed(database_url, ada.id, 46)
        assert len(kept) == 5
