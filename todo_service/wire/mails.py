"""Messages to users: their texts, from templates in a folder. The first line of a `.txt` is the subject."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

FOLDER = Path(__file__).resolve().parent.parent / "mail_templates"
VARIABLES: Mapping[str, frozenset[str]] = {
    "password-reset": frozenset({"app", "link", "valid_for"}),
    "email-verification": frozenset({"app", "link", "valid_for"}),
    "email-change": frozenset({"app", "link", "valid_for"}),
    "email-change-notice": frozenset({"app", "new_email"}),
}


@dataclass(frozen=True, slots=True)
class Mail:
    """One message.

    Attributes:
        kind: A word for metrics and the log.
        user_id: The account that it is about.
        to: The address.
        link: The link in it, if there is one.
    """

    kind: str
    user_id: str
    to: str
    subject: str
    text: str
    html: str
    link: str | None = None


class TemplateError(Exception):
    """A template cannot be used; the text names the file and the reason."""


class MailTemplates:
    """The templates of every kind of message.

    Args:
        app_name: The name of the service in them.
        folder: Its files take the place of those of the package; None for none.

    Raises:
        TemplateError: A file of the folder is of no kind, is not UTF-8, or names an unknown variable.
    """

    def __init__(self, *, app_name: str, folder: Path | None) -> None:
        self._app_name = app_name
        self._templates = {
            (kind, suffix): _read(kind, suffix, folder) for kind in VARIABLES for suffix in ("txt", "html")
        }
        if folder is not None:
            _refuse_unknown(folder)

    def mail(self, kind: str, *, user_id: str, to: str, link: str | None = None, **values: str) -> Mail:
        """Return a message of a kind in `VARIABLES`, with values for its variables."""
        all_values = {"app": self._app_name, **values} | ({"link": link} if link else {})
        subject, _, text = self._templates[kind, "txt"].substitute(all_values).partition("\n")
        escaped = {name: html.escape(value) for name, value in all_values.items()}
        return Mail(
            kind=kind,
            user_id=user_id,
            to=to,
            subject=" ".join(subject.split()),
            text=text.strip() + "\n",
            html=self._templates[kind, "html"].substitute(escaped),
            link=link,
        )


def _read(kind: str, suffix: str, folder: Path | None) -> Template:
    name = f"{kind}.{suffix}"
    path = folder / name if folder is not None and (folder / name).is_file() else FOLDER / name
    try:
        template = Template(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path} cannot be read: {type(error).__name__}") from None
    if not template.is_valid() or not set(template.get_identifiers()) <= VARIABLES[kind]:
        names = ", ".join(f"${name}" for name in sorted(VARIABLES[kind]))
        raise TemplateError(f"{path} has an unknown variable, or a lone $ (written $$): it may name {names}")
    return template


def _refuse_unknown(folder: Path) -> None:
    known = {f"{kind}.{suffix}" for kind in VARIABLES for suffix in ("txt", "html")}
    if not folder.is_dir():
        raise TemplateError(f"MAIL_TEMPLATES: {folder} is not a folder")
    if unknown := sorted(path.name for path in folder.iterdir() if path.name not in known and path.name[0] != "."):
        raise TemplateError(f"MAIL_TEMPLATES: {', '.join(unknown)} is not one of {', '.join(sorted(known))}")
