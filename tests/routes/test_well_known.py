"""The addresses that tools look for at every site are there if the operator has said what is there."""

from datetime import UTC, datetime, timedelta

from tests.client import Api
from tests.conftest import make_settings, running_service

SECURITY, PASSWORD = "/.well-known/security.txt", "/.well-known/change-password"


async def test_they_are_not_there_before_they_are_set(api: Api) -> None:
    for path in (SECURITY, PASSWORD, "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200"):
        assert (await api.get(path)).problem() == "not-found"


async def test_a_finder_of_a_hole_learns_whom_to_tell(database_url: str) -> None:
    async with running_service(make_settings(database_url, security_contact="mailto:security@example.com")) as api:
        answer = await api.get(SECURITY)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    fields = dict(line.split(": ") for line in answer.raw.decode().splitlines())
    assert fields["Contact"] == "mailto:security@example.com"
    left = datetime.fromisoformat(fields["Expires"]) - datetime.now(UTC)
    assert timedelta(days=178) < left < timedelta(days=365)


async def test_a_password_manager_is_led_to_the_page(database_url: str) -> None:
    settings = make_settings(database_url, change_password_url="https://app.example.com/settings/password")
    async with running_service(settings) as api, api.session.get(api.base + PASSWORD, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "https://app.example.com/settings/password")
