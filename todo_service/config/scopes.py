"""Scopes: the acts that a personal access token or a service may be limited to."""

from collections.abc import Collection
from enum import StrEnum


class Scope(StrEnum):
    """One scope. `keys:read`, reading a user's key for an AI provider, is for services alone."""

    TASKS_READ = "tasks:read"
    TASKS_WRITE = "tasks:write"
    TASKS_DELETE = "tasks:delete"
    ACCOUNT_READ = "account:read"
    KEYS_READ = "keys:read"


ALL = "all"
PERSONAL = frozenset(Scope) - {Scope.KEYS_READ}  # those of personal access tokens
Scopes = frozenset[str] | None  # None is no limit


def check(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of scopes, or `all` alone. Raises `ValueError` for any other."""
    known = [scope.value for scope in Scope]
    if ALL in names and len(names) > 1:
        raise ValueError("must be all alone, or name scopes")
    for place, name in enumerate(names, 1):
        if name != ALL and name not in known:
            raise ValueError(f"entry {place} must be one of {', '.join(known)}, or all alone")
    return names


def limited_to(names: Collection[str]) -> Scopes:
    """Return the scopes of checked names."""
    return None if ALL in names else frozenset(names)
