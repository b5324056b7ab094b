"""Descriptions of handlers: the part of an operation that only its OpenAPI description needs."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from todo_service.errors import ApiError

HandlerFunction = Callable[..., Awaitable[web.StreamResponse]]
H = TypeVar("H", bound=HandlerFunction)


@dataclass(frozen=True, slots=True)
class Description:
    """The part of an operation that only its OpenAPI description needs, beside the handler.

    Attributes:
        answers: The model of each success status.
        request_headers: The headers that the handler reads.
        response_headers: The headers of its success.
        errors: The refusals that do not follow from the row.
        may_identify: Whether a public route reads the caller's credential.
    """

    answers: Mapping[int, Any] = field(default_factory=dict)
    request_headers: Collection[str] = ()
    response_headers: Collection[str] = ()
    errors: Collection[type[ApiError]] = ()
    may_identify: bool = False


_DESCRIPTIONS: dict[HandlerFunction, Description] = {}


def describe(
    answers: Mapping[int, Any] | None = None,
    *,
    request_headers: Collection[str] = (),
    response_headers: Collection[str] = (),
    errors: Collection[type[ApiError]] = (),
    may_identify: bool = False,
) -> Callable[[H], H]:
    """Describe a handler for OpenAPI; the arguments are the attributes of `Description`."""

    def decorate(handler: H) -> H:
        _DESCRIPTIONS[handler] = Description(answers or {}, request_headers, response_headers, errors, may_identify)
        return handler

    return decorate


def description_of(handler: HandlerFunction) -> Description:
    """Return the description of a handler, an empty one if it has none."""
    return _DESCRIPTIONS.get(handler, Description())
