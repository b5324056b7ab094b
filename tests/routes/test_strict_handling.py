"""`Prefer: handling=strict` (RFC 7240): an unknown name is an error, which suggests the name that was meant."""

import pytest

from tests.client import Answer, Api, User
from tests.families import Dialect, in_every_family

STRICT = {"Prefer": "handling=strict"}


def messages(answer: Answer) -> dict[str, str]:
    assert answer.headers["Preference-Applied"] == "handling=strict"
    return {error["field"]: error["message"] for error in answer.body["errors"]}


@in_every_family
async def test_unknown_fields_of_a_task(api: Api, ada: User, family: Dialect) -> None:
    body = {"title": "x", "due": "2026-12-24", "qqq": 1}
    refused = await api.post(family.tasks(ada), body | {"priority": 7}, as_=ada, headers=STRICT)
    assert refused.status == family.invalid
    found = messages(refused)
    assert set(found) == {"due", "qqq", "priority"}, "all failing fields at once"
    assert f"did you mean `{'dueDate' if family.name == 'app' else 'due_date'}`?" in found["due"]
    assert "mean" not in found["qqq"]
    made = await api.post(family.tasks(ada), body, as_=ada)
    assert (made.status, "Preference-Applied" in made.headers) == (201, False)
    again = await api.send("PUT", family.task(ada, made.body["id"]), made.body, as_=ada, headers=STRICT)
    assert (again.status, again.headers["Preference-Applied"]) == (200, "handling=strict")


@in_every_family
async def test_unknown_parameters_of_a_list(api: Api, ada: User, family: Dialect) -> None:
    for _ in range(2):
        refused = await api.get(f"{family.tasks(ada)}?stauts=TODO&limit=1", as_=ada, headers=STRICT)
        assert (refused.status, "did you mean `status`?" in messages(refused)["stauts"]) == (family.invalid, True)
        assert (await api.get(f"{family.tasks(ada)}?stauts=TODO&limit=1", as_=ada)).status == 200
    assert (await api.get(f"{family.tasks(ada)}?status=TODO", as_=ada, headers=STRICT)).status == 200


async def test_unknown_members_of_a_batch(api: Api, ada: User) -> None:
    operations = [
        {"op": "create", "task": {"title": "x", "tag": "a"}, "ident": 1},
        {"op": "delete", "id": "5f0c1c3e-8f1b-4c5e-9a52-3d1f7a1b2c3d", "if_versoin": 1},
    ]
    refused = await api.post("/api/v1/tasks/batch", {"operations": operations, "x": 1}, as_=ada, headers=STRICT)
    assert set(messages(refused)) == {"x", "operations[0].ident", "operations[0].task.tag", "operations[1].if_versoin"}


async def test_no_more_unknown_names_than_a_person_can_read(api: Api, ada: User) -> None:
    body = {f"name{n}": 1 for n in range(2000)}
    refused = await api.post("/api/v1/tasks", body | {"title": "x"}, as_=ada, headers=STRICT)
    assert len(messages(refused)) == 20
    operations = [{"op": "create", "task": {"title": "x"} | {f"n{n}": 1 for n in range(50)}}] * 100
    batch = await api.post("/api/v1/tasks/batch", {"operations": operations}, as_=ada, headers=STRICT)
    assert len(messages(batch)) == 20


@pytest.mark.parametrize(
    ("value", "applies"),
    [
        ("handling=strict", True), ('respond-async, Handling = "strict"; x=1', True), ("handling=lenient", False),
        ("return=minimal", False), ("", False), ("handling=strictly", False),
    ],
)  # fmt: skip
async def test_how_the_preference_is_written(api: Api, ada: User, value: str, applies: bool) -> None:
    answer = await api.get("/api/v1/tasks?nope=1", as_=ada, headers={"Prefer": value})
    assert answer.status == (422 if applies else 200)
