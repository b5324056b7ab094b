"""Examples of tasks, and parts of their schemas, for the OpenAPI document."""

from pydantic import JsonValue

COMPLETED = "COMPLETED"
NOT_BLANK: dict[str, JsonValue] = {"pattern": r"^[^\x00]*[^\s\x00][^\x00]*$"}
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
# The schema of the rule in `_agrees`.
AGREEING: dict[str, JsonValue] = {
    "if": {"required": ["status", "completed"], "properties": {"status": {"const": COMPLETED}}},
    "then": {"properties": {"completed": {"const": True}}},
    "else": {"if": {"required": ["status", "completed"]}, "then": {"properties": {"completed": {"const": False}}}},
}
