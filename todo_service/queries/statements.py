"""Building blocks of statements, used at import only: column lists, and parameters with names."""

import dataclasses
import re
from typing import Any


class Columns(tuple[str, ...]):
    """The columns of a row class, a dataclass or a named tuple, in its order; as text they are a column list."""

    def __new__(cls, row_class: Any) -> "Columns":
        if dataclasses.is_dataclass(row_class):
            return super().__new__(cls, (field.name for field in dataclasses.fields(row_class)))
        return super().__new__(cls, row_class._fields)

    def __str__(self) -> str:
        return ", ".join(self)

    def of(self, alias: str) -> str:
        """Return the column list with every column qualified by a table or its alias."""
        return ", ".join(f"{alias}.{column}" for column in self)


def number(sql: str, *names: str) -> str:
    """Replace each `:name` by `$n`, its place in `names`; casts (`::text`) stay. Raises `KeyError` for another name."""
    places = {name: f"${place}" for place, name in enumerate(names, 1)}
    return re.sub(r"(?<!:):([a-z_]+)", lambda match: places[match[1]], sql)
