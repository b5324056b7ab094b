"""Ids that are emails are not in the log in clear, and each is still one id."""

import json
from pathlib import Path

from tests.auth_server import SHARED_SECRET, shared
from tests.process import served
from tests.proxy import until
from todo_service.observability.user_ids import EmailHider

EMAIL = "canary@example.com"


def test_an_id_with_an_at_is_a_digest_under_the_secret() -> None:
    hide, elsewhere = EmailHider("a secret"), EmailHider("another")
    line = {"user_id": EMAIL, "actor_id": "01a1", "subject_id": EMAIL.upper(), "event": EMAIL, "other": None}
    hidden = hide(None, "info", dict(line))
    assert (hidden["actor_id"], hidden["event"], hidden["other"]) == ("01a1", EMAIL, None)
    assert hidden["user_id"].startswith("hidden-")
    assert hidden["user_id"] == hide(None, "info", dict(line))["user_id"] != hidden["subject_id"]
    assert hidden["user_id"] != elsewhere(None, "info", dict(line))["user_id"]


async def test_a_user_of_an_auth_server_with_emails_for_ids(database_url: str, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as output:
        async with served(output=output, DATABASE_URL=database_url, BETTER_AUTH_SECRET=SHARED_SECRET) as (_, api):
            assert (await api.post("/api/v1/tasks", {"title": "t"}, token=shared(sub=EMAIL))).status == 201

            async def is_logged() -> bool:
                return '"user_id":"hidden-' in (tmp_path / "log").read_text()

            await until(is_logged)
    text = (tmp_path / "log").read_text()
    assert "canary" not in text
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    ids = {line["user_id"] for line in lines if line["event"] in {"task_created", "request"} and line.get("user_id")}
    assert len(ids) == 1
