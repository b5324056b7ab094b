"""Allowlists: the origins of `CORS_ORIGINS` and the hosts of `ALLOWED_HOSTS`."""

import json
import re
from collections.abc import Collection, Iterable

ANY = "*"
DEFAULT_PORTS = {"http": "80", "https": "443"}
_LABEL = "[a-z0-9]([a-z0-9_-]*[a-z0-9])?"
_NAME = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])"
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://{_NAME}(?::(?P<port>[1-9][0-9]{{0,4}}))?", re.ASCII)
_PATTERN = re.compile(rf"(?:\*\.)?{_NAME}", re.ASCII)
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
_HOST = re.compile(rf"(?P<name>{_NAME})\.?(?::[0-9]{{0,5}})?", re.ASCII)


def split(value: object) -> object:
    """Return the entries of a list that is separated by commas or written as JSON. Raises `ValueError`."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return tuple(entry for part in value.split(",") if (entry := part.strip()))
    try:
        entries = json.loads(value)
    except ValueError:
        raise ValueError("must be separated by commas, or a JSON list") from None
    if not all(isinstance(entry, str) for entry in entries):
        raise ValueError("must be a list of strings")
    return tuple(entry.strip() for entry in entries)


def check_origins(origins: Collection[str], *, in_production: bool) -> None:
    """Raise `ValueError` for an entry that is not an origin (RFC 6454, ASCII serialization), and for `*`
    in production or beside other entries.
    """
    if ANY in origins and in_production:
        raise ValueError("must name origins in production: * lets every page read the answers")
    if ANY in origins and len(origins) > 1:
        raise ValueError("must be * alone, or name origins: those may send credentials, * may not")
    for place, origin in enumerate(origins, 1):
        if origin != ANY and (reason := _origin_error(origin)):
            raise ValueError(f"entry {place} {reason}; write it like https://app.example.com or http://localhost:3000")


def check_header_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of headers. Raises `ValueError` for one that is none (RFC 9110 section 5.1), and for `*` beside
    others.
    """
    if ANY in names and len(names) > 1:
        raise ValueError("must be * alone, or name headers")
    for place, name in enumerate(names, 1):
        if not HEADER_NAME.fullmatch(name):
            raise ValueError(f"entry {place} must be the name of a header, such as traceparent")
    return names


def check_hosts(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns in lower case. Raises `ValueError` for one that is not a host name, alone or after `*.`."""
    lower = tuple(pattern.lower() for pattern in patterns)
    for place, pattern in enumerate(lower, 1):
        if pattern == ANY:
            raise ValueError("must not be *: leave it out to answer for every host")
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"entry {place} must be a host such as api.example.com or *.example.com, without a port")
    return lower


def matches_host(patterns: Iterable[str], value: str) -> bool:
    """Return whether the value of a `Host` header, with or without a port, matches one of the patterns."""
    match = _HOST.fullmatch(value.lower())
    if match is None:
        return False
    name = match["name"]
    return any(name == pattern or (pattern[0] == ANY and name.endswith(pattern[1:])) for pattern in patterns)


def _origin_error(text: str) -> str | None:
    """Return the reason why this is not an origin, or None if it is one."""
    if text == "null":
        return "is null, which every sandboxed page and local file sends"
    if "://" not in text:
        return "has no scheme"
    if text.rstrip("/") != text or "/" in text.partition("://")[2]:
        return "has a path or a slash at its end"
    if text != text.lower():
        return "has capital letters, which browsers never send"
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return "is not scheme://host or scheme://host:port"
    port = match["port"]
    if port and (int(port) > 65535 or port == DEFAULT_PORTS.get(match["scheme"])):
        return f"has port {port}, which browsers leave out" if int(port) <= 65535 else "has a port above 65535"
    return None
