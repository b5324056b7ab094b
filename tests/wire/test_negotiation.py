"""What a client would rather have, by weights."""

import pytest

from todo_service.wire.negotiation import prefers_html, takes_gzip

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept",
    [CHROMIUM, "text/html", "TEXT/HTML", "text/*", "text/html;q=0.1", "text/html, application/json;q=0.9",
     "application/json;q=0.5, text/html;q=0.501", "text/html;level=1", "text/html;charset=utf-8;q=0.9, */*;q=0.8",
     "*/*;q=0.1,text/html ; q=0.2", "application/json;q=0, */*", "image/png,text/html;q=0.3",
     "text/html;q=0.1,text/html;q=0.9,application/json;q=0.5", "text/html, application/json;q=2"],
)  # fmt: skip
def test_who_wants_html_more_gets_it(accept: str) -> None:
    assert prefers_html([accept])


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "application/json", "application/*", "text/html, application/json", "text/html;q=0.8, application/json",
     "text/html;q=0, */*", "text/html;q=0.5, */*", "image/png", "text/plain", "text/html;q=0.0", "text/html;q=1.001",
     "text/html;q=-1", "text/html;q=", "text/html;q=high", "text/html;q=0.1234", ";;;,,,q=1", "text/html, */*",
     "text/*;q=0.5, */*", "a" * 8000],
)  # fmt: skip
def test_everybody_else_gets_json(accept: str) -> None:
    assert not prefers_html([accept])


def test_several_headers_are_one() -> None:
    assert prefers_html(["application/json;q=0.5", "text/html"])
    assert not prefers_html([])


@pytest.mark.parametrize(
    "encodings",
    ["gzip", "gzip, deflate, br, zstd", "GZIP", "x-gzip", "*", "br, *;q=0.1", "gzip;q=0.001", "identity;q=0.5, gzip",
     "identity, gzip", "identity;q=0, *;q=0.5"],
)  # fmt: skip
def test_who_takes_gzip(encodings: str) -> None:
    assert takes_gzip([encodings])


@pytest.mark.parametrize(
    "encodings",
    ["", "identity", "br", "gzip;q=0", "gzip;q=0.000, *", "*;q=0", "gzip;q=0.5, identity", "gzip;q=x", "gzipped"],
)
def test_who_does_not(encodings: str) -> None:
    assert not takes_gzip([encodings])
