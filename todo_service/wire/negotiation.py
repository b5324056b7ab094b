"""Content negotiation: `Accept` and `Accept-Encoding` (RFC 9110 section 12.5)."""

import re
from collections.abc import Sequence
from functools import lru_cache

_MEMBER = re.compile(r"\s*([^\s;,]+)\s*((?:;[^,]*)?)")
_WEIGHT = re.compile(r";\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*(?=;|$)", re.ASCII | re.IGNORECASE)
_ANY_WEIGHT = re.compile(r";\s*q\s*=", re.IGNORECASE)

HTML = ("text/html", "text/*", "*/*")
JSON = ("application/json", "application/*", "*/*")
GZIP = ("gzip", "x-gzip", "*")
IDENTITY = ("identity",)


def prefers_html(headers: Sequence[str]) -> bool:
    """Return whether `Accept` prefers HTML to JSON; JSON if it prefers neither."""
    weights = _weights(headers)
    return _weight(weights, HTML) > _weight(weights, JSON)


def takes_gzip(headers: Sequence[str]) -> bool:
    """Return whether `Accept-Encoding` accepts gzip and does not prefer the identity."""
    return _takes_gzip(",".join(headers))


@lru_cache(maxsize=256)  # nearly all clients send one of a few
def _takes_gzip(header: str) -> bool:
    weights = _weights([header])
    return _weight(weights, GZIP) > 0 and _weight(weights, GZIP) >= _weight(weights, IDENTITY)


def _weight(weights: dict[str, float], names: Sequence[str]) -> float:
    """Return the weight of the first of `names`, from the most specific to the least, that the header has."""
    return next((weights[name] for name in names if name in weights), 0)


def _weights(headers: Sequence[str]) -> dict[str, float]:
    """Return each name in the header with its highest weight; a malformed weight is 0."""
    weights: dict[str, float] = {}
    for member in ",".join(headers).split(","):
        match = _MEMBER.fullmatch(member)
        if match:
            name = match[1].lower()
            weights[name] = max(weights.get(name, 0), _parse_weight(match[2]))
    return weights


def _parse_weight(parameters: str) -> float:
    weight = _WEIGHT.search(parameters)
    if weight:
        return float(weight[1])
    return 0 if _ANY_WEIGHT.search(parameters) else 1
