"""Strict handling: unknown names in a body or a query are validation errors. A request asks for it by
`Prefer: handling=strict` (RFC 7240 section 4.4), or comes with a personal access token that was made so.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from aiohttp import web

from todo_service.errors import ValidationFailed
from todo_service.wire import strict_names
from todo_service.wire.codec import Input, Naming

PREFER = "Prefer"
STRICT = web.RequestKey("strict", bool)  # of requests that are handled strictly
_STRICT = re.compile(r"\s*handling\s*=\s*\"?strict\"?\s*(;.*)?", re.IGNORECASE)


def prefers_strict(request: web.Request) -> bool:
    """Return whether the request prefers strict handling, and note it."""
    preferences = ",".join(request.headers.getall(PREFER)).split(",")
    if not any(_STRICT.fullmatch(preference) for preference in preferences):
        return False
    request[STRICT] = True
    return True


def check_query(request: web.Request, model: type[Input], status: int, accepted: Collection[str] = ()) -> None:
    """Raise `ValidationFailed` with `status` for query parameters that the model does not know."""
    names = [name for name in dict.fromkeys(request.query) if name not in accepted]
    if unknown := strict_names.unknown(model, names, "snake"):
        raise ValidationFailed(unknown, status=status)


@contextmanager
def strictly(model: type[Input], document: object, naming: Naming, status: int) -> Iterator[None]:
    """Add the unknown members of a body to the errors of its validation, which is the block."""
    unknown = strict_names.unknown_members(model, document, naming)
    try:
        yield
    except ValidationFailed as failed:
        raise ValidationFailed((*failed.errors, *unknown), status=failed.status) from None
    if unknown:
        raise ValidationFailed(unknown, status=status)
