"""What schemathesis cannot know by itself: who may end what. Read by it, in its own process.

What ends an account or its sessions gets an account of its own for each case, so that no other case loses its own.
Examples name nobody real: they get an email, a password and a refresh token that hold.
"""

import os
from typing import Any
from uuid import uuid4

import requests
import schemathesis

EXAMPLE_EMAIL, EXAMPLE_TOKEN = "ada@example.com", "Zk3mQ0b1yVw5h7X2c9R8tL6nD4sJ0fA_pGqUeKiHo-M"
PASSWORD = "correct horse 9"
SELF_DEFEATING = {"change_password", "delete_me", "log_out", "app_log_out", "end_session", "change_email"}
REGISTERING = {"register", "register_signed_in", "sign_up"}
EMPTY_IS_ABSENT = ("status", "priority", "completed")
REGISTERED = {EXAMPLE_EMAIL}
USUAL = f"Bearer {os.environ['FUZZ_TOKEN']}"


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Put what holds in the place of what only looks like it."""
    operation = context.operation.definition.raw["operationId"]
    if operation in REGISTERING:
        _with_an_email_of_its_own(case)
    elif operation in SELF_DEFEATING or EXAMPLE_EMAIL in _values(case) or EXAMPLE_TOKEN in _values(case):
        _as_somebody_new(case)
    if _is_positive(case):
        (case.query or {}).pop("cursor", None)  # opaque: only the service can make one that is accepted
        if "Idempotency-Key" in (case.headers or {}):
            case.headers["Idempotency-Key"] = str(uuid4())  # one that came with another request is refused
        if operation == "change_email":
            case.body["new_email"] = _fresh()  # a reserved domain has no mail
        body = dict(_items(case))
        for one in (*body.get("operations", []), case.body if body else {}):
            for name in ("if_version", "expires_in_days"):
                if isinstance(one.get(name), float):  # JSON Schema takes 57.0 for an integer, the service does not:
                    one[name] = int(one[name])  # types are strict (section 1 of the contract)
    if "account_id" in (case.path_parameters or {}) and _is_positive(case):
        case.path_parameters["account_id"] = _account()["user_id"]


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether it is one. An email can be registered once (a second time is 400, section 4.1 of the contract), and some
    cases are sent again without asking `before_call`. An empty filter, as HTML forms send it, is none.
    """
    is_absent = any((case.query or {}).get(name) == "" for name in EMPTY_IS_ABSENT) and response.status_code == 200
    return not is_absent and b"/problems/email-already-registered" not in response.content


def _with_an_email_of_its_own(case: Any) -> None:
    """An email can be registered once: a second time it is refused, as it should be."""
    email = dict(_items(case)).get("email")
    if isinstance(email, str):
        if email.lower() in REGISTERED:
            case.body["email"] = email = _fresh()
        REGISTERED.add(email.lower())


def _as_somebody_new(case: Any) -> None:
    account = _account()
    if (case.headers or {}).get("Authorization") == USUAL:  # not where the check is that another one is refused
        case.headers["Authorization"] = f"Bearer {account['token']}"
    known = {EXAMPLE_EMAIL: account["email"], EXAMPLE_TOKEN: account["refresh_token"]}
    for name, value in _items(case):
        if isinstance(value, str) and value in known:
            case.body[name] = known[value]
        elif name in {"password", "current_password"} and _is_positive(case) and len(value) % 2:
            case.body[name] = PASSWORD


def _account() -> dict[str, str]:
    body = {"email": _fresh(), "password": PASSWORD}
    answer = requests.post(os.environ["FUZZ_URL"] + "/api/auth/signup", json=body, timeout=10)
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


def _fresh() -> str:
    return f"{uuid4().hex}@example.com"


def _is_positive(case: Any) -> bool:
    return case.meta is None or case.meta.generation.mode.is_positive


def _items(case: Any) -> list[tuple[str, Any]]:
    return list(case.body.items()) if isinstance(case.body, dict) else []


def _values(case: Any) -> list[Any]:
    return [value for _, value in _items(case)]
