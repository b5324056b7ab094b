"""Examples of tasks, and parts of their schemas, for the OpenAPI document."""

from pydantic import JsonValue

COMPLETED = "COMPLETED"
_UNSEEN = (
    r"\s\x00-\x1f\x7f-\xa0\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u2028-\u202f\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
)
NOT_BLANK: dict[str, JsonValue] = {"pattern": r"^[^\x00]*[^\s\x00][^\x00]*$"}
VISIBLE: dict[str, JsonValue] = {"pattern": rf"^[^\x00]*[^{_UNSEEN}][^\x00]*$"}
EXAMPLE_OF_CREATE: dict[str, JsonValue] = {
    "title": "Write to Charles",
    "description": "About the engine.",
    "priority": "HIGH",
    "due_date": "2026-12-24",
    "tags": ["letters"],
}
_MOMENT = "2026-11-21T13:16:16.076896Z"
EXAMPLE: dict[str, JsonValue] = {
    "id": "5f0c1c3e-8f1b-4c5e-9a52-3d1f7a1b2c3d",
    "user_id": "01a1fe40-1817-7619-88f5-225fab816885",
    "title": "Write to Charles",
    "description": "About the engine.",
    "status": "TODO",
    "completed": False,
    "priority": "HIGH",
    "due_date": "2026-12-24",
    "tags": ["letters"],
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
    "completed_at": None,
    "version": 1,
}
_BOTH: dict[str, JsonValue] = {"required": ["status", "completed"]}
# The schema of the rule in `_agrees`.
AGREEING: dict[str, JsonValue] = {
    "if": _BOTH | {"properties": {"status": {"const": COMPLETED}, "completed": {}}},
    "then": {"properties": {"completed": {"const": True}}},
    "else": {
        "if": _BOTH | {"properties": {"status": {}, "completed": {}}},
        "then": {"properties": {"completed": {"const": False}}},
    },
}
