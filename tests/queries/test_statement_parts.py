"""Parameters with names become numbered ones at import; casts and names that are not there do not slip through."""

import pytest

from todo_service.queries.statements import Columns, number
from todo_service.queries.task_rows import TASK_COLUMNS, TaskRow


def test_names_become_places_and_casts_stay() -> None:
    sql = "SELECT :title::text, :owner_id, (:tags)::text[], a::int, :title FROM t WHERE b = :owner_id"
    assert number(sql, "owner_id", "title", "tags") == (
        "SELECT $2::text, $1, ($3)::text[], a::int, $2 FROM t WHERE b = $1"
    )


def test_a_name_that_is_not_a_parameter_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        number("SELECT :titel", "title")


def test_columns_are_those_of_the_row_class_in_its_order() -> None:
    assert str(TASK_COLUMNS).startswith("id, user_id, title,")
    assert TASK_COLUMNS.of("t").startswith("t.id, t.user_id, t.title,")
    assert Columns(TaskRow) == TASK_COLUMNS
