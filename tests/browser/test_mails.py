"""The pages of messages, as a browser shows them on a phone and on a screen."""

import pytest
from playwright.async_api import Browser

from todo_service.wire.mails import VARIABLES, MailTemplates

pytestmark = pytest.mark.browser
LINK = "https://app.example.com/reset?token=" + "x" * 43


@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("kind", VARIABLES)
async def test_a_message_fits_and_its_link_can_be_pressed(browser: Browser, kind: str, width: int) -> None:
    values = {"valid_for": "30 minutes", "new_email": "ada@example.com"}
    named = {name: values[name] for name in VARIABLES[kind] if name in values}
    link = LINK if "link" in VARIABLES[kind] else None
    mail = MailTemplates(app_name="Todo", folder=None).mail(kind, user_id="u", to="a@b.example", link=link, **named)
    page = await browser.new_page(viewport={"width": width, "height": 700})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.set_content(mail.html)
    assert len(await page.screenshot()) > 5_000
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.locator("h1").is_visible()
    buttons = page.locator("a")
    assert await buttons.count() == (1 if link else 0)
    if link:
        assert await buttons.get_attribute("href") == LINK
        box = await buttons.bounding_box()
        assert box is not None
        assert box["height"] >= 40, "large enough for a thumb"
    assert not asked, "nothing is loaded from elsewhere"
    await page.close()
