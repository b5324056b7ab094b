"""The security schemes, and those that a row accepts."""

from typing import Any

from todo_service.auth.access import Access
from todo_service.auth.credentials import SERVICE_AUTH, USER_ID_HEADER
from todo_service.routes.table import Route

SCHEMES: dict[str, Any] = {
    "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `access_token` of a sign-in here, or a JWT of the auth server that the operator has named.",
    },
    "sessionToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of a session of that auth server, signed or not.",
    },
    "serviceToken": {
        "type": "apiKey",
        "in": "header",
        "name": SERVICE_AUTH,
        "description": f"The token of a service that acts for a user; send `{USER_ID_HEADER}` with it.",
    },
    "serviceUser": {
        "type": "apiKey",
        "in": "header",
        "name": USER_ID_HEADER,
        "description": "The id of the user that the service acts for. It is ignored without the token of a service.",
    },
}
ACCOUNT: dict[str, list[str]] = {"accessToken": []}
ANYONE: list[dict[str, list[str]]] = [ACCOUNT, {"sessionToken": []}, {"serviceToken": [], "serviceUser": []}]


def of(route: Route) -> list[dict[str, list[str]]]:
    """Return the alternatives, one of which is required; an empty one requires nothing."""
    if route.access is Access.PUBLIC:
        return [{}, ACCOUNT] if route.description.may_identify else []
    return ANYONE if route.access is Access.USER else [ACCOUNT]
