"""The security schemes, and the rows that require one.

Both are ways to the one header `Authorization: Bearer`, since generators of clients take alternatives for requirements:
a client that was offered the headers of a service beside a bearer token sent the headers alone.
"""

from typing import Any

from todo_service.auth.access import Access
from todo_service.auth.credentials import SERVICE_AUTH, USER_ID_HEADER
from todo_service.routes.oauth2 import TOKEN_PATH
from todo_service.routes.table import Route

SCHEMES: dict[str, Any] = {
    "signIn": {
        "type": "oauth2",
        "flows": {"password": {"tokenUrl": TOKEN_PATH, "scopes": {}}},
        "description": "Email (as `username`) and password of an account made here. Leave the client's id and secret "
        "empty.",
    },
    "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `access_token` of a sign-in here, a JWT of the auth server that the operator has named, or "
        "the token of one of its sessions, or a personal access token, which is limited to its scopes: each operation "
        "names the one it needs, and an operation that names none is not open to it. A service that acts for a user "
        "sends its own token in "
        f"`{SERVICE_AUTH}` instead, and the id of the user in `{USER_ID_HEADER}`.",
    },
}
SIGNED_IN: list[dict[str, list[str]]] = [{"signIn": []}, {"accessToken": []}]


def of(route: Route) -> list[dict[str, list[str]]]:
    """Return the alternatives, one of which is required; an empty one requires nothing."""
    if route.access is Access.PUBLIC:
        return [{}, *SIGNED_IN] if route.description.may_identify else []
    return SIGNED_IN
