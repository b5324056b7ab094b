"""Base addresses of other services: a plain http or https URL."""

import re
from urllib.parse import urlsplit


def is_http_url(text: str) -> bool:
    """Return whether this is an http(s) URL with a host, without credentials, in visible ASCII characters."""
    try:
        parts = urlsplit(text)
        well_formed = parts.port != 0 and parts.username is None and re.fullmatch("[!-~]+", text)
    except ValueError:
        return False
    return bool(well_formed and parts.hostname) and parts.scheme in {"http", "https"}
