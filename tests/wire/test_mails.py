"""The texts of messages: every template, its own and an operator's."""

from pathlib import Path

import pytest

from todo_service.wire.mails import VARIABLES, MailTemplates, TemplateError

LINK = "https://app.example.com/reset?token=" + "x" * 43
VALUES = {"valid_for": "30 minutes", "new_email": "<new>@example.com"}


@pytest.mark.parametrize("kind", VARIABLES)
def test_every_template_is_a_subject_a_text_and_a_page(kind: str) -> None:
    values = {name: VALUES[name] for name in VARIABLES[kind] if name in VALUES}
    link = LINK if "link" in VARIABLES[kind] else None
    mail = MailTemplates(app_name="Ada & Co", folder=None).mail(
        kind, user_id="u", to="a@b.example", link=link, **values
    )
    assert mail.subject.startswith("Ada & Co: ")
    assert "\n" not in mail.subject
    assert mail.subject not in mail.text
    assert "$" not in mail.text + mail.html
    assert "Ada &amp; Co" in mail.html
    if link:
        assert link in mail.text.splitlines(), "on a line of its own"
        assert mail.html.count(link) == 2
        assert "30 minutes" in mail.text
        assert "30 minutes" in mail.html
    else:
        assert "http" not in mail.text + mail.html
        assert "&lt;new&gt;@example.com" in mail.html
        assert "<new>@example.com" in mail.text
    assert max(map(len, mail.text.splitlines())) < 110


def test_an_operators_template_takes_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "password-reset.txt").write_text("Bonjour de $app\n\n$link, c'est tout. 3 $$\n", encoding="utf-8")
    mail = MailTemplates(app_name="Todo", folder=tmp_path).mail(
        "password-reset", user_id="u", to="a@b.example", link=LINK, valid_for="30 minutes"
    )
    assert (mail.subject, mail.text) == ("Bonjour de Todo", f"{LINK}, c'est tout. 3 $\n")
    assert "Choose a new password" in mail.html


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("password-reset.txt", b"s\n$token", "unknown variable"),
        ("password-reset.html", b"only 5 $", "lone"),
        ("email-change.txt", b"\xff\xfe", "UnicodeDecodeError"),
        ("welcome.txt", b"s", "welcome.txt is not one of"),
    ],
)
def test_a_template_that_cannot_be_used_stops_the_start(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TemplateError, match=words):
        MailTemplates(app_name="Todo", folder=tmp_path)
    with pytest.raises(TemplateError, match="is not a folder"):
        MailTemplates(app_name="Todo", folder=tmp_path / "missing")
