"""Signing in with a form, as OAuth 2.0 clients and documentation pages do."""

import pytest

from tests.client import PASSWORD, Answer, Api

PATH = "/api/v1/auth/token"


async def send(api: Api, form: str | bytes, media: str = "application/x-www-form-urlencoded") -> Answer:
    raw = form.encode() if isinstance(form, str) else form
    return await api.post(PATH, raw=raw, headers={"Content-Type": media})


async def test_email_and_password_give_a_token(api: Api) -> None:
    ada = await api.new_user()
    name = ada.email.replace("@", "%40")
    form = f"grant_type=password&username={name}&password={PASSWORD.replace(' ', '+')}&scope=&client_id="
    answer = await send(api, form)
    assert (answer.status, answer.body["token_type"]) == (200, "bearer")
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    assert (await api.get("/api/v1/auth/me", token=answer.body["access_token"])).body["id"] == ada.id


@pytest.mark.parametrize(
    ("form", "status", "problem"),
    [
        ("grant_type=password&username=nobody%40example.com&password=wrong", 401, "wrong-email-or-password"),
        ("grant_type=client_credentials&username=a&password=b", 422, "validation-error"),
        ("username=a&password=b", 422, "validation-error"),
        ("grant_type=password&username=a&username=b&password=c", 422, "validation-error"),
        ("grant_type=password&username=a&password=%00", 401, "wrong-email-or-password"),
        ("grant_type=password&username=a&password=%ff", 400, "malformed-body"),
        (b"grant_type=password&username=\xff&password=b", 400, "malformed-body"),
        ("nothing", 400, "malformed-body"),
        ("&".join(f"field{number}=1" for number in range(30)), 400, "malformed-body"),
        ("", 422, "validation-error"),
    ],
)
async def test_what_is_refused(api: Api, form: str | bytes, status: int, problem: str) -> None:
    answer = await send(api, form)
    assert (answer.status, answer.problem()) == (status, problem)


async def test_only_a_form_is_taken(api: Api) -> None:
    answer = await send(api, '{"username": "a"}', "application/json")
    assert (answer.status, answer.problem()) == (415, "unsupported-media-type")
    assert "application/x-www-form-urlencoded" in answer.body["detail"]
