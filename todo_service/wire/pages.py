"""Small HTML pages for people, each with its Content-Security-Policy.

Every text is escaped. Scripts and styles are files, never in a page, so that the policy can refuse all others.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from http import HTTPStatus

from todo_service.errors import ApiError

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
READING = f"{NOTHING}; style-src 'self'; img-src 'self'"
SWAGGER_UI = f"{NOTHING}; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
REDOC = f"{NOTHING}; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" type="image/svg+xml" href="{icon}">
{links}<title>{title}</title>
</head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Site:
    """The common parts of all pages.

    Attributes:
        name: The name of the service.
        prefix: The prefix of its paths at the proxy, empty or such as `/todo`.
        icon: The path of the icon.
        style: The path of the style of pages to read.
    """

    name: str
    prefix: str
    icon: str
    style: str

    def page(self, title: str, body: str, *, styles: Iterable[str] = (), scripts: Iterable[str] = ()) -> str:
        """Return a whole page: `body` is HTML, the others are texts and paths.

        Scripts run in order, after the page is loaded.
        """
        links = [f'<link rel="stylesheet" href="{self.path(name)}">\n' for name in styles]
        links += [f'<script defer src="{self.path(name)}"></script>\n' for name in scripts]
        return _PAGE.format(title=escape(title), links="".join(links), icon=self.path(self.icon), body=body)

    def path(self, path: str) -> str:
        """Return a path of the service as an attribute of a page."""
        return escape(self.prefix + path)


def root(site: Site, version: str, links: Mapping[str, str]) -> str:
    """Return the page of the service itself: its name, and its addresses by their names."""
    rows = "\n".join(
        f'<tr><td>{escape(name)}</td><td><a href="{site.path(path)}"><code>{site.path(path)}</code></a></td></tr>'
        for name, path in links.items()
    )
    body = f"""<main>
<h1>{escape(site.name)}</h1>
<p>Version {escape(version)}. This is an API: programs get the same as JSON.</p>
<table>
<tr><th>Name</th><th>Address</th></tr>
{rows}
</table>
</main>"""
    return site.page(site.name, body, styles=[site.style])


def problem(site: Site, kind: type[ApiError]) -> str:
    """Return the page about one problem type."""
    body = f"""<main>
<p><a href="{site.path("/problems")}">Problems of {escape(site.name)}</a></p>
<h1>{escape(kind.title)}</h1>
<dl>
<dt>Type</dt><dd><code>/problems/{escape(kind.name)}</code></dd>
<dt>Status</dt><dd>{_status(kind)}</dd>
<dt>What it means</dt><dd>{_marked(kind.meaning)}</dd>
<dt>When it happens</dt><dd>{_marked(kind.when)}</dd>
<dt>What to do</dt><dd>{_marked(kind.remedy)}</dd>
</dl>
</main>"""
    return site.page(f"{kind.title} · {site.name}", body, styles=[site.style])


def problems(site: Site, kinds: Iterable[type[ApiError]]) -> str:
    """Return the page that links to those of all problem types."""
    rows = "\n".join(
        f"<tr><td>{kind.status}</td><td>{_link(site, kind)}</td><td>{escape(kind.title)}</td></tr>" for kind in kinds
    )
    body = f"""<main>
<h1>Problems of {escape(site.name)}</h1>
<p>The <code>type</code> of an error is the address of one of these.</p>
<table>
<tr><th>Status</th><th>Type</th><th>Title</th></tr>
{rows}
</table>
</main>"""
    return site.page(f"Problems · {site.name}", body, styles=[site.style])


def _link(site: Site, kind: type[ApiError]) -> str:
    return f'<a href="{site.path(f"/problems/{kind.name}")}"><code>{escape(kind.name)}</code></a>'


def _status(kind: type[ApiError]) -> str:
    return f"{kind.status} {escape(HTTPStatus(kind.status).phrase)}"


def _marked(text: str) -> str:
    """Return the text as HTML, with the parts between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
