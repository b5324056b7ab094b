"""What we say to PostgreSQL: one module a table, each statement a constant beside the one function that runs it."""

import importlib
import pkgutil


def statement_names() -> dict[str, str]:
    """Every SQL text of this room, with its name as logs and metrics say it: `tasks.insert`."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return {
        value: f"{module.__name__.rpartition('.')[2]}.{name.lower()}"
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and not name.startswith("_")
    }
