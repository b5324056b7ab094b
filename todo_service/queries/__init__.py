"""SQL: one module for each table, each statement a constant beside the one function that runs it."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

from todo_service.queries.expiry import UpToMoment


def statement_names() -> dict[str, str]:
    """Return every SQL text of this room with its name for logs and metrics, such as `tasks.insert`."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return {
        sql: f"{module.__name__.rpartition('.')[2]}.{name.lower()}{variant}"
        for module in modules
        for name, constant in vars(module).items()
        if name.isupper() and not name.startswith("_")
        for variant, sql in _texts(constant)
    }


def _texts(constant: object) -> Iterator[tuple[str, str]]:
    """Yield a statement, or each variant of one with the suffix of its name."""
    if isinstance(constant, str):
        yield "", constant
    elif isinstance(constant, UpToMoment):
        yield from ((f" {variant}", sql) for variant, sql in constant._asdict().items())
    elif isinstance(constant, Mapping):
        yield from ((f" {variant}", sql) for variant, sql in constant.items())
