"""Small HTML pages for people, each with its Content-Security-Policy.

Every text is escaped. Scripts and styles are files, never in a page, so that the policy can refuse all others.
"""

import re
from collections.abc import Iterable, Mapping
from html import escape
from http import HTTPStatus

from todo_service.errors import ApiError

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
READING = f"{NOTHING}; style-src 'self'; img-src data:"
SWAGGER_UI = f"{NOTHING}; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
REDOC = f"{NOTHING}; script-src 'self'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'"

# An empty icon, so that browsers do not request /favicon.ico.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
{links}<title>{title}</title>
</head>
<body>
{body}
</body>
</html>
"""


def root(service: str, version: str, links: Mapping[str, str], *, style: str) -> str:
    """Return the page of the service itself: its name, and its addresses by their names."""
    rows = "\n".join(
        f'<tr><td>{escape(name)}</td><td><a href="{escape(path)}"><code>{escape(path)}</code></a></td></tr>'
        for name, path in links.items()
    )
    body = f"""<main>
<h1>{escape(service)}</h1>
<p>Version {escape(version)}. This is an API: programs get the same as JSON.</p>
<table>
<tr><th>Name</th><th>Address</th></tr>
{rows}
</table>
</main>"""
    return page(service, body, styles=[style])


def problem(kind: type[ApiError], *, service: str, style: str) -> str:
    """Return the page about one problem type."""
    body = f"""<main>
<p><a href="/problems">Problems of {escape(service)}</a></p>
<h1>{escape(kind.title)}</h1>
<dl>
<dt>Type</dt><dd><code>/problems/{escape(kind.name)}</code></dd>
<dt>Status</dt><dd>{_status(kind)}</dd>
<dt>What it means</dt><dd>{_marked(kind.meaning)}</dd>
<dt>When it happens</dt><dd>{_marked(kind.when)}</dd>
<dt>What to do</dt><dd>{_marked(kind.remedy)}</dd>
</dl>
</main>"""
    return page(f"{kind.title} · {service}", body, styles=[style])


def problems(kinds: Iterable[type[ApiError]], *, service: str, style: str) -> str:
    """Return the page that links to those of all problem types."""
    rows = "\n".join(
        f"<tr><td>{kind.status}</td><td>{_link(kind)}</td><td>{escape(kind.title)}</td></tr>" for kind in kinds
    )
    body = f"""<main>
<h1>Problems of {escape(service)}</h1>
<p>The <code>type</code> of an error is the address of one of these.</p>
<table>
<tr><th>Status</th><th>Type</th><th>Title</th></tr>
{rows}
</table>
</main>"""
    return page(f"Problems · {service}", body, styles=[style])


def page(title: str, body: str, *, styles: Iterable[str] = (), scripts: Iterable[str] = ()) -> str:
    """Return a whole page: `body` is HTML, the others are texts and paths.

    Scripts run in order, after the page is loaded.
    """
    links = [f'<link rel="stylesheet" href="{escape(path)}">\n' for path in styles]
    links += [f'<script defer src="{escape(path)}"></script>\n' for path in scripts]
    return _PAGE.format(title=escape(title), links="".join(links), body=body)


def _link(kind: type[ApiError]) -> str:
    return f'<a href="/problems/{escape(kind.name)}"><code>{escape(kind.name)}</code></a>'


def _status(kind: type[ApiError]) -> str:
    return f"{kind.status} {escape(HTTPStatus(kind.status).phrase)}"


def _marked(text: str) -> str:
    """Return the text as HTML, with the parts between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
