"""The names of the scripts in messages: an installed package has programs of other names."""

import re

from todo_service.config.settings import IN_CHECKOUT

_SCRIPT = re.compile(r"(?<![\w./-])bin/([a-z-]+)(?![\w./-])")
_REQUIREMENTS = "--require-hashes -r requirements-serve.txt"


def named_here(text: str) -> str:
    """Return a message with the names that its scripts have here: an installed `bin/users` is `todo-service-users`."""
    return text if IN_CHECKOUT else as_installed(text)


def as_installed(text: str) -> str:
    """Return a message for an installed package."""
    named = _SCRIPT.sub(r"todo-service-\1", text).replace("todo-service-serve", "todo-service")
    return named.replace(_REQUIREMENTS, "'todo-service[serve]'")
