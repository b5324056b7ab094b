"""Entity tags (RFC 9110 section 8.8.3): a task's is its version, a list's also identifies the list and its owner.

Proxies change tags: nginx makes them weak, Apache appends the encoding. Both forms are accepted for the tag itself.
"""

import re
from collections.abc import Collection, Sequence

from todo_service.queries.task_lists import Stamp

ANY = "*"
_TAG = re.compile(r'[ \t]*(?:W/)?"([\x21\x23-\x7e\x80-\U0010ffff]*)"[ \t]*')
_ENCODING = re.compile(r"-(?:gzip|br|zstd|deflate)$")
_VERSION = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_STAMP = re.compile(r"([0-9]{1,18})-([0-9a-f]{1,15})-([0-9a-f]+)", re.ASCII)


def of_task(version: int) -> str:
    """Return a task's tag, such as `"57"`."""
    return f'"{version}"'


def of_list(stamp: Stamp, digest: str) -> str:
    """Return a list's tag. `digest` identifies the query, the family and the user."""
    return f'"{stamp.version}-{stamp.epoch:x}-{digest}"'


def of_content(digest: str) -> str:
    """Return the tag of an answer without a version: a digest of its bytes."""
    return f'"{digest}"'


def of_encoding(tag: str) -> str:
    """Return the tag of the same answer compressed: other bytes, another tag. A condition takes either for both."""
    return f'{tag[:-1]}-gzip"'


def opaque(headers: Sequence[str]) -> Collection[str] | None:
    """Return the tags in `If-Match` or `If-None-Match`, without quotes; `*` as itself, None without such a header.

    Malformed tags are left out: a condition that cannot be read is never met.
    """
    if not headers:
        return None
    text = ", ".join(headers)
    if text.strip() == ANY:
        return {ANY}
    candidates = (_TAG.fullmatch(part) for part in text.split(","))
    return {_ENCODING.sub("", match[1]) for match in candidates if match}


def versions(headers: Sequence[str]) -> list[int] | None:
    """Return the versions that `If-Match` allows a task to have; None for any."""
    tags = opaque(headers)
    if tags is None or ANY in tags:
        return None
    return [int(tag) for tag in tags if _VERSION.fullmatch(tag)]


def matches(headers: Sequence[str], tag: str) -> bool:
    """Return whether `If-None-Match` has the tag, so that the caller has the answer already (304)."""
    tags = opaque(headers)
    return tags is not None and (ANY in tags or _ENCODING.sub("", tag.strip('"')) in tags)


def as_sent(headers: Sequence[str], tag: str) -> str:
    """Return the tag as the caller has it: that of a compressed answer, if the header has that one."""
    return of_encoding(tag) if any(of_encoding(tag) in header for header in headers) else tag


def stamps(headers: Sequence[str], digest: str) -> list[Stamp]:
    """Return the stamps of this list that the caller has."""
    candidates = (_STAMP.fullmatch(tag) for tag in opaque(headers) or ())
    return [Stamp(int(match[2], 16), int(match[1])) for match in candidates if match and match[3] == digest]
