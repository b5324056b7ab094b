"""The files of the pages, kept in memory, each at an address with the digest of its bytes.

So the content of an address never changes, and no other file can be requested. Third-party files are in
`static/vendor`, written by `bin/vendor-docs`; a `.gz` beside a file is the same compressed.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

STYLE = "pages.css"
ICON = "favicon.svg"
SWAGGER_UI = ("vendor/swagger-ui/swagger-ui.css", "vendor/swagger-ui/swagger-ui-bundle.js", "swagger-init.js")
REDOC = ("vendor/redoc/redoc.standalone.js", "redoc-init.js")


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file: `path` is its address, `digest` identifies its bytes."""

    path: str
    content_type: str
    digest: str
    body: bytes
    gzipped: bytes


def by_path(*, docs: bool) -> Mapping[str, StaticFile]:
    """Return the files by their paths; those of the documentation only with `docs`."""
    names = (STYLE, ICON, *SWAGGER_UI, *REDOC) if docs else (STYLE, ICON)
    return {asset.path: asset for asset in map(read, names)}


@cache
def read(name: str) -> StaticFile:
    """Return the file of this name below `static`."""
    file = FOLDER / name
    body, compressed = file.read_bytes(), file.with_name(file.name + ".gz")
    digest = hashlib.sha256(body).hexdigest()[:16]
    return StaticFile(
        path=f"/assets/{digest}/{file.name}",
        content_type=TYPES[file.suffix],
        digest=digest,
        body=body,
        gzipped=compressed.read_bytes() if compressed.exists() else gzip.compress(body, mtime=0),
    )


STATIC_FILES = web.AppKey("static_files", Mapping[str, StaticFile])
